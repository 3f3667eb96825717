"""Features of several encoders for a comparison: each video is decoded once per frame size, for all of them.

Every encoder has a feature store of its own below `encoder-features` in the storage root, with one modality. It is
apart from the stores that towers are trained on, and has a catalog of its own. Runs in this process, without Ray: the
machine does nothing else meanwhile, so that the times are those of the encoders.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rayreel.catalog.read import Catalog
from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.compute import device_named
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.known import KnownEncoder
from rayreel.encoders.load import encoder_identity, load_encoder
from rayreel.features.cost import EncodingCost, add_cost
from rayreel.features.decoding import DecodeVideos
from rayreel.features.encoding import counts_of, encoded_rows, inputs_of
from rayreel.features.extract import ExtractionPlan, set_planned_catalog
from rayreel.features.key import EncoderKey, key_name
from rayreel.features.rows import decoded_rows, todo_rows
from rayreel.features.store import FeatureStore, NoFeatures, open_store
from rayreel.features.storing import quarantine_rows
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.isolated import IsolatedDecoder
from rayreel.storage import Storage

FOLDER, NONE = "encoder-features", "none"
VIDEOS_PER_BLOCK = 32
SMALL = 32  # side of frames that no encoder needs, pixels


@dataclass(frozen=True)
class Compared:
    """One encoder of a comparison, with its configuration, its weights' folder and its store."""

    known: KnownEncoder
    config: EncodersConfig
    cache: Path
    storage: Storage
    sampling: SamplingConfig

    @staticmethod
    def of(known: KnownEncoder, config: EncodersConfig, cache: Path, root: Storage, base: SamplingConfig) -> "Compared":
        """Return the encoder with the window that it needs; `config` has the other modalities and how to run.

        A checkpoint without a name here may be downloaded to learn its window. On a CPU, let `config` have one thread:
        threads of torch spin while they wait, which would count as work. Raises UnreachableWeights.
        """
        # Encoders are compared on the same text, so that no weight hides what one reads.
        config = config.model_copy(update={"text_weights": None})
        own, base = known.config(config), base.model_copy(update={"window": 1})
        sampling = own.sampled(base, lambda: cache) if known.modality is Modality.VISUAL else base
        return Compared(known, own, cache, Storage(root.uri(FOLDER)), sampling)

    @cached_property
    def identity(self) -> str:
        """Name, weights and preprocessing. Locates the weights, or downloads them. Raises UnreachableWeights."""
        return encoder_identity(self.known.modality, self.config, self.cache)

    @cached_property
    def encoder(self) -> Any:  # noqa: ANN401 - by modality
        """The encoder."""
        return load_encoder(self.known.modality, self.config, self.cache)

    @cached_property
    def store(self) -> FeatureStore:
        """Its store; the first time, the encoder is loaded to learn its width."""
        identities = dict.fromkeys(Modality, NONE) | {self.known.modality: self.identity}
        try:
            return open_store(self.storage, key_name(identities, self.sampling))
        except NoFeatures:
            dims = dict.fromkeys(Modality, 1) | {self.known.modality: int(self.encoder.dim)}
            size = int(getattr(self.encoder, "frame_size", SMALL))
            key = EncoderKey(identities=identities, dims=dims, frame_size=size, sampling=self.sampling)
            return FeatureStore(self.storage, key)

    @property
    def name(self) -> str:
        """The name of its encoder key."""
        return str(self.store.key)

    @property
    def device(self) -> str:
        """Where it runs: cpu, cuda or mps."""
        return device_named(self.config.device).type


def sample_of(catalog: Catalog, limit: int | None) -> Catalog:
    """Return a fixed random sample of a catalog, in which that of a smaller limit is contained."""
    if limit is None:
        return catalog
    ordered = sorted(catalog.videos, key=lambda video: hashlib.blake2b(video.video_id.encode()).digest())
    return replace(catalog, videos=ordered[:limit])


def extract_compared(
    catalog: Catalog,
    encoders: Sequence[Compared],
    limits: Limits,
    progress: Callable[[int, int], None] = lambda _done, _todo: None,
) -> None:
    """Bring the stores of all encoders up to date with the catalog, and measure what encoding costs.

    `progress` receives the numbers of videos done and to do, summed over the encoders. A killed run continues with the
    next block. Raises StorageFull.
    """
    plans = {one.name: _planned(catalog, one) for one in encoders}
    total, done = sum(len(plan.todo) for plan in plans.values()), 0
    progress(done, total)
    for members in _passes([one for one in encoders if plans[one.name].todo]):
        todo = {one.name: {video.video_id for video in plans[one.name].todo} for one in members}
        wanted = set[str]().union(*todo.values())
        videos = [video for video in catalog.videos if video.video_id in wanted]
        blocks = _decoded(videos, plans[members[0].name].versions, members[0].store.key, limits)
        for number, block in enumerate(blocks):
            for one in members:
                mine = block.filter(pc.is_in(block["video_id"], value_set=pa.array(todo[one.name], pa.string())))
                if number == 0:
                    _warm_up(one, mine)
                _encode(one, mine)
                done += mine.num_rows
                progress(done, total)


def _planned(catalog: Catalog, one: Compared) -> ExtractionPlan:
    """Make the catalog that of the encoder's store, and return what is missing."""
    one.storage.sweep()
    one.store.create()
    plan = ExtractionPlan.of(catalog, one.store, retry_quarantined=False)
    set_planned_catalog(one.store, plan, adding=False)
    return plan


def _passes(encoders: Sequence[Compared]) -> list[list[Compared]]:
    """Group the encoders by the frames that they need; those of sound and text join the first group."""
    groups: dict[tuple[int, int, bool], list[Compared]] = {}
    for one in sorted(encoders, key=lambda one: one.sampling.window):
        if one.known.modality is Modality.VISUAL:
            groups.setdefault((one.store.key.frame_size, one.sampling.window, one.sampling.squeeze), []).append(one)
    others = [one for one in encoders if one.known.modality is not Modality.VISUAL]
    first, *rest = list(groups.values()) or [[]]
    return [group for group in ([*first, *others], *rest) if group]


def _decoded(
    videos: Sequence[CatalogVideo], versions: dict[str, str], key: EncoderKey, limits: Limits
) -> Iterator[pa.Table]:
    """Yield blocks of decoded rows. Each core has a decoder; nothing is decoded while a block is encoded."""
    decode, local = DecodeVideos(key.sampling, limits, key.frame_size), threading.local()
    with ExitStack() as open_decoders:

        def decoded(uri: str) -> Any:  # noqa: ANN401 - Clip or Rejected
            if not hasattr(local, "decoder"):
                local.decoder = IsolatedDecoder(limits.max_memory_bytes, limits.allowed_roots)
                open_decoders.enter_context(local.decoder)
            return decode.decode(local.decoder, uri)

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for start in range(0, len(videos), VIDEOS_PER_BLOCK):
                some = videos[start : start + VIDEOS_PER_BLOCK]
                rows = todo_rows(some, [versions[video.video_id] for video in some])
                yield decoded_rows(rows, list(pool.map(decoded, rows["uri"].to_pylist())))


def _warm_up(one: Compared, block: pa.Table) -> None:
    """Encode a single input, untimed: the first pass of a network is slower."""
    window = one.encoder.window if one.known.modality is Modality.VISUAL else 1
    inputs = inputs_of(block, one.known.modality, one.store.key)[:window]
    if len(inputs):
        one.encoder.encode(inputs)


def _encode(one: Compared, block: pa.Table) -> None:
    """Encode a block and write its rows, then its cost."""
    modality, key, encoder = one.known.modality, one.store.key, one.encoder
    window = encoder.window if modality is Modality.VISUAL else 1
    inputs, counts = inputs_of(block, modality, key), dict.fromkeys(Modality, [0] * block.num_rows)
    counts[modality] = counts_of(block, modality, window)
    clock = time.process_time if one.device == "cpu" else time.perf_counter
    began = clock()
    vectors = encoder.encode(inputs)
    spent_s = clock() - began
    nothing = {other: np.empty((0, key.dims[other]), np.float32) for other in Modality}
    rows = encoded_rows(block, nothing | {modality: vectors}, counts, key)
    good = pc.is_null(rows["reason"])
    features = rows.filter(good)
    one.store.add(features.select(one.store.schema.names), quarantine_rows(rows.filter(pc.invert(good))))
    add_cost(one.storage, one.name, one.device, EncodingCost(features.num_rows, spent_s))
