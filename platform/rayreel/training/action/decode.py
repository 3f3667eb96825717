"""Videos to clips of small frames, on the cluster: Ray Data, isolated decoders, one file per block."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray.data

from rayreel.catalog.video import CatalogVideo
from rayreel.features.config import ExtractConfig
from rayreel.features.decoding import DecodeVideos
from rayreel.features.rows import TODO
from rayreel.features.version import version_of
from rayreel.media.config import Limits
from rayreel.placement import table_on
from rayreel.training.action.clips import ClipStore


@dataclass(frozen=True, slots=True)
class StoreClips:
    """The last stage of decoding: clips to their store; out come the outcomes, a reason or null for each video."""

    store: ClipStore

    def __call__(self, decoded: pa.Table) -> pa.Table:
        """Write a block of DECODED rows."""
        self.store.add(decoded)
        return decoded.select(["reason"])


def decode_clips(
    videos: Sequence[CatalogVideo],
    store: ClipStore,
    limits: Limits,
    config: ExtractConfig,
    progress: Callable[[int, int], None] = lambda done, todo: None,
) -> Counter[str]:
    """Decode what the store does not have yet; returns how many videos could not be used, by reason. Needs Ray.

    `progress` hears how many of the missing ones are done, and how many there are.
    """
    done, reasons, finished = store.done(), Counter[str](), 0
    todo = [(video, version) for video in videos if (video.video_id, version := version_of(video)) not in done]
    if not todo:
        return reasons
    for block in _dataset(todo, store, limits, config).iter_batches(batch_size=None, batch_format="pyarrow"):
        reasons.update(reason for reason in block["reason"].to_pylist() if reason)
        finished += block.num_rows
        progress(finished, len(todo))
    return reasons


def _dataset(
    todo: Sequence[tuple[CatalogVideo, str]], store: ClipStore, limits: Limits, config: ExtractConfig
) -> ray.data.Dataset:
    rows = {"video": [video.model_dump_json() for video, _ in todo], "version": [version for _, version in todo]}
    # As many clips in a block as weigh what a block of extraction weighs.
    network, sampling = store.config.network, store.config.sampling
    size = max(1, (20 << 20) // (sampling.frames * sampling.window * network.size**2 * 3))
    return (
        table_on(config.decode_on, pa.table(rows, schema=TODO), -(-len(todo) // size))
        .map_batches(DecodeVideos(sampling, limits, network.size), **config.decoding())
        .map_batches(StoreClips(store), **config.storing())
    )
