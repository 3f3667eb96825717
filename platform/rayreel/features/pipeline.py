"""The Ray Data pipeline: decode in CPU tasks, encode in an actor pool and write, all concurrently."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.data

from rayreel.catalog.video import CatalogVideo
from rayreel.compat.ray_data import pass_by_value
from rayreel.encoders.config import EncodersConfig
from rayreel.features.capacity import Capacity
from rayreel.features.config import ExtractConfig
from rayreel.features.decoding import DecodeVideos
from rayreel.features.encoding import EncodeVideos
from rayreel.features.key import EncoderKey
from rayreel.features.report import BlockReport, Throughput
from rayreel.features.rows import todo_rows
from rayreel.features.store import FeatureStore
from rayreel.features.storing import StoreRows
from rayreel.media.config import AUDIO_RATE_HZ, Limits
from rayreel.media.decode import decode_samples
from rayreel.media.pictures import pictures_in
from rayreel.media.sandbox.serve import Decode
from rayreel.placement import table_on


@dataclass(frozen=True, slots=True)
class Pipeline:
    """How videos are turned into features.

    `cache` has the encoders' weights; `decode_with` is the function that runs in the isolated decoders, and
    `encode_with` the class of the encoder actors.
    """

    encoders: EncodersConfig
    limits: Limits
    config: ExtractConfig
    cache: Path
    decode_with: Decode = decode_samples
    encode_with: type[EncodeVideos] = EncodeVideos

    def run(self, todo: Sequence[CatalogVideo], versions: dict[str, str], store: FeatureStore) -> Iterator[BlockReport]:
        """Extract the videos into the store; yield a report for each block written."""
        if not todo:
            return
        for written in self._dataset(todo, versions, store).iter_batches(batch_size=None, batch_format="pyarrow"):
            for report in written.to_pylist(maps_as_pydicts="strict"):
                yield BlockReport(**report)

    def capacity(self) -> Capacity:
        """Return what the running cluster has for these settings."""
        return Capacity.of_cluster(self.config)

    def throughput(self) -> Throughput:
        """Return the throughput, still zero, of a run on the running cluster."""
        capacity = self.capacity()
        return Throughput(capacity.cores, capacity.gpus)

    def encoder_config(self, gpus: float) -> EncodersConfig:
        """Return the encoders' configuration in an actor that reserves this many GPUs.

        On CPUs it has `encoder_threads` threads. Ray hides no GPU from actors without one, which would use it; it does
        not know those of Macs.
        """
        if gpus:
            return self.encoders
        changes: dict[str, Any] = {"threads": self.encoders.threads or self.config.encoder_threads}
        changes |= {"device": "cpu"} if self.encoders.device == "auto" and sys.platform != "darwin" else {}
        return self.encoders.model_copy(update=changes)

    def _bound_memory(self, key: EncoderKey, capacity: Capacity) -> None:
        """Limit how many blocks decoding runs ahead of encoding, so that memory stays flat and nothing spills."""
        sampling = key.sampling
        pictures = sampling.frames * sampling.window * key.frame_size**2 * 3
        sound = round(sampling.audio_windows * sampling.audio_window_s * AUDIO_RATE_HZ) * 4
        context = ray.data.DataContext.get_current()
        context.execution_options.resource_limits = ray.data.ExecutionResources.for_limits(
            object_store_memory=capacity.bytes_in_flight(self.config.videos_per_block * (pictures + sound))
        )
        # Ray Data reads each worker's memory every second by walking its page tables, which costs 0.1 core per worker.
        context.memory_usage_poll_interval_s = None

    def _dataset(self, todo: Sequence[CatalogVideo], versions: dict[str, str], store: FeatureStore) -> ray.data.Dataset:
        pass_by_value()
        capacity = self.capacity()
        self._bound_memory(store.key, capacity)
        decode = DecodeVideos(
            store.key.sampling,
            self.limits,
            store.key.frame_size,
            self.decode_with,
            pictures_in(store.storage, self.config.pictures),
        )
        rows = todo_rows(todo, [versions[video.video_id] for video in todo])
        gpus, (decode_cpus, encode_cpus) = capacity.gpus_per_encoder, capacity.reserved_cpus()
        # A small run uses smaller blocks, so that every core has work.
        blocks = max(-(-len(todo) // self.config.videos_per_block), min(len(todo), 4 * capacity.cores))
        block = -(-len(todo) // blocks)
        return (
            table_on(self.config.decode_on, rows, blocks)
            .map_batches(decode, **self.config.decoding(decode_cpus))
            .map_batches(
                self.encode_with,
                fn_constructor_kwargs={
                    "config": self.encoder_config(gpus),
                    "key": store.key,
                    "cache": self.cache,
                    "videos": block,
                },
                # None keeps blocks as they are. With GPUs Ray Data rejects it, so pass the rows per block.
                batch_size=block if gpus else None,
                batch_format="pyarrow",
                zero_copy_batch=True,
                compute=_pool(capacity.encoders),
                num_cpus=encode_cpus,
                num_gpus=gpus,
                label_selector=self.config.encode_on or None,
            )
            .map_batches(StoreRows(store), **self.config.storing())
        )


def _pool(actors: int) -> ray.data.ActorPoolStrategy:
    """Return a pool of encoder actors that keeps its size until the cluster loses nodes.

    A pool of fixed size would wait for the nodes instead.
    """
    # A pool that shrinks when it has little to do would import torch again whenever blocks arrive.
    ray.data.DataContext.get_current().autoscaling_config.actor_pool_util_downscaling_threshold = -1
    return ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors)
