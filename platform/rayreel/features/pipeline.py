"""The Ray Data pipeline: decode in CPU tasks, transcribe and encode in actor pools and write, all concurrently."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
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
from rayreel.features.retelling import DecodeTracks, EncodeTexts, ReadRows
from rayreel.features.rows import todo_rows
from rayreel.features.store import FeatureStore
from rayreel.features.storing import StoreRows
from rayreel.features.transcribing import TranscribeVideos
from rayreel.media.config import AUDIO_RATE_HZ, Limits
from rayreel.media.decode import decode_samples
from rayreel.media.pictures import Pictures, pictures_in
from rayreel.media.sandbox.serve import Decode
from rayreel.placement import table_on
from rayreel.speech.find import Speech, model_folder

if TYPE_CHECKING:
    from rayreel.speech.transcriber import Transcriber


@dataclass(frozen=True, slots=True)
class Pipeline:
    """How videos are turned into features.

    `cache` has the encoders' weights; `decode_with` is the function that runs in the isolated decoders, and
    `encode_with` the class of the encoder actors. Without `speech` none is recognised.
    """

    encoders: EncodersConfig
    limits: Limits
    config: ExtractConfig
    cache: Path
    decode_with: Decode = decode_samples
    encode_with: type[EncodeVideos] = EncodeVideos
    speech: Speech | None = None

    def run(
        self,
        todo: Sequence[CatalogVideo],
        versions: dict[str, str],
        store: FeatureStore,
        spoken: pa.Table | None = None,
    ) -> Iterator[BlockReport]:
        """Extract the videos into the store; yield a report for each block written.

        `spoken` has the columns of SPOKEN, if speech was recognised before, and perhaps those of ENRICHED.
        """
        if todo:
            yield from _reports(self._dataset(todo, versions, store, spoken))

    def retell(self, located: Sequence[dict[str, Any]], store: FeatureStore) -> Iterator[BlockReport]:
        """Transcribe the videos of rows that the store has; see `rayreel.features.retelling`."""
        if located:
            yield from _reports(self._retold(located, store))

    def capacity(self) -> Capacity:
        """Return what the running cluster has for these settings."""
        return Capacity.of_cluster(self.config, None if self.speech is None else self.speech.config)

    def throughput(self) -> Throughput:
        """Return the throughput, still zero, of a run on the running cluster."""
        capacity = self.capacity()
        return Throughput(capacity.cores, capacity.gpus, capacity.speech_gpus)

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

    def transcriber(self, gpus: float) -> "Transcriber":
        """Load the model of speech recognition in an actor that reserves this many GPUs. Raises UnreachableWeights."""
        # NumPy only; the model's library is imported when it is loaded
        from rayreel.speech.transcriber import load_transcriber

        assert self.speech is not None, "speech is recognised"
        config = self.speech.config
        folder = model_folder(config, self.encoders.weights_dir, self.cache)
        if not gpus and config.device == "auto":
            config = config.model_copy(update={"device": "cpu"})  # as in `encoder_config`
        return load_transcriber(folder, config, self.config.speech_threads)

    def decoding(self, key: EncoderKey, *, tracks: bool, pictures: Pictures | None = None) -> DecodeVideos:
        """Return the stage that decodes; with `tracks` also the sound for speech recognition, if there is one."""
        sampling, speech = key.sampling, self.speech
        if tracks and speech is not None:
            sampling = sampling.model_copy(update={"track_s": speech.config.first_s})
        nvdec = self.config.nvdec
        return DecodeVideos(sampling, self.limits, key.frame_size, self.decode_with, pictures, nvdec=nvdec)

    def _bound_memory(self, key: EncoderKey, capacity: Capacity) -> None:
        """Limit how many blocks decoding runs ahead of encoding, so that memory stays flat and nothing spills."""
        sampling = key.sampling
        pictures = sampling.frames * sampling.window * key.frame_size**2 * 3
        sound = round(sampling.audio_windows * sampling.audio_window_s * AUDIO_RATE_HZ) * 4
        sound += 0 if self.speech is None else round(self.speech.config.first_s * AUDIO_RATE_HZ) * 2
        context = ray.data.DataContext.get_current()
        context.execution_options.resource_limits = ray.data.ExecutionResources.for_limits(
            object_store_memory=capacity.bytes_in_flight(self.config.videos_per_block * (pictures + sound))
        )
        # Ray Data reads each worker's memory every second by walking its page tables, which costs 0.1 core per worker.
        context.memory_usage_poll_interval_s = None

    def _dataset(
        self, todo: Sequence[CatalogVideo], versions: dict[str, str], store: FeatureStore, spoken: pa.Table | None
    ) -> ray.data.Dataset:
        pass_by_value()
        capacity = self.capacity()
        self._bound_memory(store.key, capacity)
        rows = todo_rows(todo, [versions[video.video_id] for video in todo])
        if spoken is not None:
            for name in spoken.column_names:
                rows = rows.append_column(name, spoken[name])
        gpus, reserved = capacity.gpus_per_encoder, capacity.reserved_cpus()
        tracks = self.speech is not None and spoken is None
        decode = self.decoding(store.key, tracks=tracks, pictures=pictures_in(store.storage, self.config.pictures))
        # A small run uses smaller blocks, so that every core has work.
        blocks = max(-(-len(todo) // self.config.videos_per_block), min(len(todo), 4 * capacity.cores))
        block = -(-len(todo) // blocks)
        decoded = table_on(self.config.decode_on, rows, blocks).map_batches(
            decode, **self.config.decoding(reserved.decode)
        )
        return (
            (self._transcribed(decoded, capacity, block) if tracks else decoded)
            .map_batches(
                self.encode_with,
                fn_constructor_kwargs={
                    "config": self.encoder_config(gpus),
                    "key": store.key,
                    "cache": self.cache,
                    "videos": block,
                },
                **self._actors(capacity.encoders, reserved.encode, gpus, block),
            )
            .map_batches(StoreRows(store), **self.config.storing())
        )

    def _transcribed(self, decoded: ray.data.Dataset, capacity: Capacity, block: int) -> ray.data.Dataset:
        assert self.speech is not None, "speech is recognised"
        gpus = capacity.gpus_per_speech
        return decoded.map_batches(
            TranscribeVideos,
            fn_constructor_kwargs={
                "load": partial(self.transcriber, gpus),
                "key": self.speech.key,
                "on_gpu": bool(gpus),
            },
            **self._actors(capacity.speech_actors, capacity.reserved_cpus().speech, gpus, block),
        )

    def _retold(self, located: Sequence[dict[str, Any]], store: FeatureStore) -> ray.data.Dataset:
        pass_by_value()
        capacity = self.capacity()
        self._bound_memory(store.key, capacity)
        files = table_on(self.config.decode_on, pa.Table.from_pylist(list(located)), len(located))
        count = sum(len(file["video_id"]) for file in located)
        block = min(self.config.videos_per_block, -(-count // (4 * capacity.cores)))
        gpus, reserved = capacity.gpus_per_encoder, capacity.reserved_cpus()
        # A file has up to thousands of rows: they are decoded in small blocks.
        rows = files.map_batches(ReadRows(store), **self.config.storing()).repartition(target_num_rows_per_block=block)
        tracks = rows.map_batches(
            DecodeTracks(self.decoding(store.key, tracks=True)), **self.config.decoding(reserved.decode)
        )
        return (
            self._transcribed(tracks, capacity, block)
            .map_batches(
                EncodeTexts,
                fn_constructor_kwargs={"config": self.encoder_config(gpus), "cache": self.cache},
                **self._actors(1, reserved.encode, gpus, block),
            )
            .map_batches(StoreRows(store), **self.config.storing())
        )

    def _actors(self, actors: int, cpus: float, gpus: float, block: int) -> dict[str, Any]:
        """Return the options of a Ray Data stage of actors that receive blocks of up to `block` rows."""
        return {
            # None keeps blocks as they are. With GPUs Ray Data rejects it, so pass the rows per block.
            "batch_size": block if gpus else None,
            "batch_format": "pyarrow",
            "zero_copy_batch": True,
            "compute": _pool(actors),
            "num_cpus": cpus,
            "num_gpus": gpus,
            "label_selector": self.config.encode_on or None,
        }


def _reports(dataset: ray.data.Dataset) -> Iterator[BlockReport]:
    for written in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        for report in written.to_pylist(maps_as_pydicts="strict"):
            yield BlockReport(**report)


def _pool(actors: int) -> ray.data.ActorPoolStrategy:
    """Return a pool of actors that keeps its size until the cluster loses nodes.

    A pool of fixed size would wait for the nodes instead.
    """
    # A pool that shrinks when it has little to do would import torch again whenever blocks arrive.
    ray.data.DataContext.get_current().autoscaling_config.actor_pool_util_downscaling_threshold = -1
    return ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors)
