"""The second stage of extraction: encode frames, sound and text to feature rows, in actors with the networks."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.encoder import Modality
from rayreel.encoders.presets import EncodersConfig
from rayreel.features.key import EncoderKey
from rayreel.features.rows import PASSING, frames_of, windows_of
from rayreel.features.schema import catalog_columns, feature_schema
from rayreel.media.config import AUDIO_RATE_HZ


class EncodeVideos:
    """Encodes frames, sound and text to feature vectors. Batches are made of frames, not of videos."""

    def __init__(self, config: EncodersConfig, key: EncoderKey, cache: Path) -> None:
        from rayreel.encoders.load import load_encoders  # imports torch: only actors need it, and it takes seconds

        self.encoders = load_encoders(config, cache)
        self.key = key
        self.samples = round(key.sampling.audio_window_s * AUDIO_RATE_HZ)
        self.schema = pa.schema([*feature_schema(key.dims), *PASSING])

    def __call__(self, block: pa.Table) -> pa.Table:
        """Map DECODED rows to feature rows plus the columns of PASSING, one to one; failures pass through."""
        started = time.time()
        videos = [CatalogVideo.model_validate_json(text) for text in block["video"].to_pylist()]
        dims = self.key.dims
        vectors = {
            Modality.VISUAL: _ragged(
                self.encoders.visual.encode(frames_of(block, self.key.frame_size)),
                [(count or 0) // self.encoders.visual.window for count in block["n_frames"].to_pylist()],
                dims[Modality.VISUAL],
            ),
            Modality.AUDIO: _ragged(
                self.encoders.audio.encode(windows_of(block, self.samples)),
                block["n_windows"].to_pylist(),
                dims[Modality.AUDIO],
            ),
            Modality.TEXT: self._text(videos, block["reason"].is_null().to_pylist()),
        }
        waited_s = started - (pc.max(block["decoded_at"]).as_py() or started)
        for name, seconds in (("waited_s", waited_s), ("encode_s", time.time() - started)):
            block = block.append_column(name, pa.array([seconds] * len(videos), pa.float64()))
        return self._table(block, videos, vectors)

    def _text(self, videos: list[CatalogVideo], good: list[bool]) -> pa.Array:
        texts = [video.text() if ok else "" for video, ok in zip(videos, good, strict=True)]
        vectors = self.encoders.text.encode([text for text in texts if text])
        return _ragged(vectors, [int(bool(text)) for text in texts], self.key.dims[Modality.TEXT])

    def _table(self, block: pa.Table, videos: list[CatalogVideo], vectors: dict[Modality, pa.Array]) -> pa.Table:
        catalog = pa.Table.from_pylist([catalog_columns(video) for video in videos], schema=_first(self.schema, 8))
        columns = {name: catalog[name] for name in catalog.column_names}
        columns |= {name: block[name] for name in block.column_names if name in self.schema.names}
        columns |= {modality.value: array for modality, array in vectors.items()}
        columns["transcript"] = pa.nulls(len(videos), pa.string())
        columns["encoder_key"] = pa.array([str(self.key)] * len(videos))
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)


def _first(schema: pa.Schema, count: int) -> pa.Schema:
    return pa.schema([schema.field(i) for i in range(count)])


def _ragged(vectors: NDArray[np.float32], counts: Sequence[int | None], dim: int) -> pa.Array:
    """Vectors [sum of counts, dim] as one list of vectors per video; null for a video without vectors."""
    inner = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), dim)
    offsets = np.concatenate([[0], np.cumsum([count or 0 for count in counts])]).astype(np.int32)
    missing = np.array([not count for count in counts], dtype=bool)
    return pa.ListArray.from_arrays(offsets, inner, mask=pa.array(missing))
