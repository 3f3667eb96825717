"""The Ray Data pipeline: decode in CPU tasks, encode in an actor pool and write, all concurrently."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray.data

from rayreel.catalog.video import CatalogVideo
from rayreel.compat.ray_data import pass_by_value
from rayreel.encoders.config import EncodersConfig
from rayreel.features.config import ExtractConfig
from rayreel.features.decoding import DecodeVideos
from rayreel.features.encoding import EncodeVideos
from rayreel.features.key import EncoderKey
from rayreel.features.report import BlockReport
from rayreel.features.rows import todo_rows
from rayreel.features.store import FeatureStore
from rayreel.features.storing import StoreRows
from rayreel.media.config import AUDIO_RATE_HZ, Limits
from rayreel.media.decode import decode_samples
from rayreel.media.sandbox.serve import Decode
from rayreel.placement import table_on


def cores() -> int:
    """Return the cluster's CPU cores; on a single machine the real ones, since Ray's CPUs may be oversubscribed."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return os.cpu_count() or 1 if len(nodes) == 1 else int(ray.cluster_resources()["CPU"])


@dataclass(frozen=True, slots=True)
class Pipeline:
    """How videos are turned into features.

    `cache` has the encoders' weights; `decode_with` is the function that runs in the isolated decoders.
    """

    encoders: EncodersConfig
    limits: Limits
    config: ExtractConfig
    cache: Path
    decode_with: Decode = decode_samples

    def run(self, todo: Sequence[CatalogVideo], versions: dict[str, str], store: FeatureStore) -> Iterator[BlockReport]:
        """Extract the videos into the store; yield a report for each block written."""
        if not todo:
            return
        for written in self._dataset(todo, versions, store).iter_batches(batch_size=None, batch_format="pyarrow"):
            for report in written.to_pylist(maps_as_pydicts="strict"):
                yield BlockReport(**report)

    def gpus_per_encoder(self) -> float:
        """Return the number of GPUs per encoder actor on the running cluster."""
        gpus = self.config.gpus_per_encoder
        return float(ray.cluster_resources().get("GPU", 0) > 0) if gpus is None else gpus

    def encoder_actors(self) -> int:
        """Return the number of encoder actors on the running cluster."""
        if self.config.encoder_actors:
            return self.config.encoder_actors
        if gpus := self.gpus_per_encoder():
            return max(1, int(ray.cluster_resources().get("GPU", 0) / gpus))
        return max(1, cores() // 2)

    def encoder_config(self) -> EncodersConfig:
        """Return the encoders' configuration in an actor, with `encoder_threads` threads on CPUs."""
        threads = self.encoders.threads or (0 if self.gpus_per_encoder() else self.config.encoder_threads)
        return self.encoders.model_copy(update={"threads": threads})

    def _bound_memory(self, key: EncoderKey) -> None:
        """Limit how many blocks decoding runs ahead of encoding, so that memory stays flat and nothing spills."""
        sampling = key.sampling
        pictures = sampling.frames * sampling.window * key.frame_size**2 * 3
        sound = round(sampling.audio_windows * sampling.audio_window_s * AUDIO_RATE_HZ) * 4
        nodes = sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())
        max_bytes = max(1, nodes) * self.config.blocks_in_flight * self.config.videos_per_block * (pictures + sound)
        context = ray.data.DataContext.get_current()
        context.execution_options.resource_limits = ray.data.ExecutionResources.for_limits(
            object_store_memory=max_bytes
        )
        # Ray Data reads each worker's memory every second by walking its page tables, which costs 0.1 core per worker.
        context.memory_usage_poll_interval_s = None

    def _encoders(self) -> ray.data.ActorPoolStrategy:
        """Return a pool of encoder actors that keeps its size until the cluster loses nodes.

        A pool of fixed size could then hold all CPUs that are left, and lost blocks could never be decoded again.
        """
        # A pool that shrinks when it has little to do would import torch again whenever blocks arrive.
        ray.data.DataContext.get_current().autoscaling_config.actor_pool_util_downscaling_threshold = -1
        actors = self.encoder_actors()
        return ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors)

    def _dataset(self, todo: Sequence[CatalogVideo], versions: dict[str, str], store: FeatureStore) -> ray.data.Dataset:
        pass_by_value()
        self._bound_memory(store.key)
        rows = todo_rows(todo, [versions[video.video_id] for video in todo])
        gpus = self.gpus_per_encoder()
        # A small run uses smaller blocks, so that every core has work.
        blocks = max(-(-len(todo) // self.config.videos_per_block), min(len(todo), 4 * cores()))
        return (
            table_on(self.config.decode_on, rows, blocks)
            .map_batches(
                DecodeVideos(store.key.sampling, self.limits, store.key.frame_size, self.decode_with),
                **self.config.decoding(),
            )
            .map_batches(
                EncodeVideos,
                fn_constructor_kwargs={"config": self.encoder_config(), "key": store.key, "cache": self.cache},
                # None keeps blocks as they are. With GPUs Ray Data rejects it, so pass the rows per block.
                batch_size=-(-len(todo) // blocks) if gpus else None,
                batch_format="pyarrow",
                zero_copy_batch=True,
                compute=self._encoders(),
                num_cpus=self.config.cpus_per_encoder,
                num_gpus=gpus,
                label_selector=self.config.encode_on or None,
            )
            .map_batches(StoreRows(store), **self.config.storing())
        )
