"""A feature store of made-up rows, as large as a measurement needs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from rayreel.encoders.encoder import Modality
from rayreel.features.key import EncoderKey
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.media.config import SamplingConfig
from rayreel.storage import Storage

_CATEGORIES = 50
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Shape:
    """Vectors of a video and their width, by modality."""

    counts: Mapping[Modality, int]
    dims: Mapping[Modality, int]


LAPTOP = Shape(
    {Modality.VISUAL: 8, Modality.AUDIO: 4, Modality.TEXT: 1},
    {Modality.VISUAL: 1280, Modality.AUDIO: 192, Modality.TEXT: 384},
)
"""As the laptop preset gives them."""

SMALL = Shape(
    {Modality.VISUAL: 4, Modality.AUDIO: 1, Modality.TEXT: 1},
    {Modality.VISUAL: 64, Modality.AUDIO: 64, Modality.TEXT: 64},
)
"""A million of them fit on a laptop's disk."""


def write_rows(root: str, rows: int, shape: Shape, key: EncoderKey | None = None) -> FeatureStore:
    """Write a store below `root` with `rows` videos around the centres of their categories, block by block.

    `key` names the encoders that the rows claim to come from. Without it, they claim encoders that do not exist.
    """
    key = key or EncoderKey(
        identities={modality: f"synthetic_{modality.value}@random" for modality in Modality},
        dims=dict(shape.dims),
        frame_size=1,
        sampling=SamplingConfig(),
    )
    store = FeatureStore(Storage(root), key)
    store.create()
    store.set_catalog([(_name(number), "1") for number in range(rows)])
    for start in range(0, rows, _BLOCK):
        store.add(_block(store, range(start, min(start + _BLOCK, rows)), shape), QUARANTINE.empty_table())
    return store


def _name(number: int) -> str:
    return f"v{number:08}"


def _block(store: FeatureStore, numbers: range, shape: Shape) -> pa.Table:
    category_R = np.arange(numbers.start, numbers.stop) % _CATEGORIES
    texts: dict[str, Any] = {
        "video_id": [_name(number) for number in numbers],
        "uri": [f"/videos/{_name(number)}.mp4" for number in numbers],
        "title": [f"video {number}" for number in numbers],
        "description": [""] * len(numbers),
        "tags": [[]] * len(numbers),
        "category": [f"category {category}" for category in category_R],
        "extra": [json.dumps({})] * len(numbers),
        "version": ["1"] * len(numbers),
        "content_hash": [f"{number:064x}" for number in numbers],
        "encoder_key": [str(store.key)] * len(numbers),
    }
    vectors = {modality.value: _vectors(modality, category_R, numbers.start, shape) for modality in Modality}
    given = {**texts, **vectors}
    columns = [given.get(field.name, [None] * len(numbers)) for field in store.schema]
    return pa.table(columns, schema=store.schema)


def _vectors(modality: Modality, category_R: Any, seed: int, shape: Shape) -> pa.ListArray:  # noqa: ANN401
    """Each row's category centre and noise, [rows, count, dim] as lists of fixed-size lists."""
    count, dim = shape.counts[modality], shape.dims[modality]
    place = list(Modality).index(modality)
    centre_CD = np.random.default_rng(place).standard_normal((_CATEGORIES, dim), dtype=np.float32)
    x_RND = np.random.default_rng([seed, place]).standard_normal((len(category_R), count, dim), dtype=np.float32)
    x_RND += centre_CD[category_R][:, None]
    inner = pa.FixedSizeListArray.from_arrays(pa.array(x_RND.astype(np.float16).ravel()), dim)
    return pa.ListArray.from_arrays(pa.array(np.arange(len(category_R) + 1, dtype=np.int32) * count), inner)
