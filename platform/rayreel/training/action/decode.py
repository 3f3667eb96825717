"""Decode videos to clips of small frames with Ray Data: isolated decoders, one output file per block."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray.data

from rayreel.catalog.video import CatalogVideo
from rayreel.features.config import ExtractConfig
from rayreel.features.decoding import DecodeVideos
from rayreel.features.rows import todo_rows
from rayreel.features.version import version_of
from rayreel.media.config import Limits
from rayreel.placement import table_on
from rayreel.training.action.clips import ClipStore


@dataclass(frozen=True, slots=True)
class StoreClips:
    """The last stage of decoding: writes clips to the store and returns a reason, or null, for each video."""

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
    """Decode the videos that the store does not have; return the number of rejected videos by reason. Requires Ray.

    `progress` is called with the number of decoded videos and the number to decode.
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
    rows = todo_rows([video for video, _ in todo], [version for _, version in todo])
    # Blocks of about 20 MB of pixels, as in extraction.
    network, sampling = store.config.network, store.config.sampling
    size = max(1, (20 << 20) // (sampling.frames * sampling.window * network.size**2 * 3))
    return (
        table_on(config.decode_on, rows, -(-len(todo) // size))
        .map_batches(DecodeVideos(sampling, limits, network.size), **config.decoding(config.cpus_per_decode))
        .map_batches(StoreClips(store), **config.storing())
    )
