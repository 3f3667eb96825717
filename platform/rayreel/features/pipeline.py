"""The Ray Data pipeline: decode on CPU tasks → encode on an actor pool → write, all at the same time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import ray.data

from rayreel.catalog.video import Video
from rayreel.encoders.presets import EncodersConfig
from rayreel.features.config import ExtractConfig
from rayreel.features.report import BlockReport
from rayreel.features.rows import TODO
from rayreel.features.stages import DecodeVideos, EncodeVideos, StoreRows
from rayreel.features.store import FeatureStore
from rayreel.media.config import Limits
from rayreel.media.decode import decode_file
from rayreel.media.isolated import Decode


@dataclass(frozen=True, slots=True)
class Pipeline:
    """How videos are turned into features.

    `cache` holds the encoders' weights; `decode_with` is what runs in the isolated decoders.
    """

    encoders: EncodersConfig
    limits: Limits
    config: ExtractConfig
    cache: Path
    decode_with: Decode = decode_file

    def run(self, todo: Sequence[Video], versions: dict[str, str], store: FeatureStore) -> Iterator[BlockReport]:
        """Extract the videos into the store; yields a report for every block that has been written."""
        if not todo:
            return
        for written in self._dataset(todo, versions, store).iter_batches(batch_size=None, batch_format="pyarrow"):
            for report in written["report"].to_pylist():
                yield BlockReport.model_validate_json(report)

    def _dataset(self, todo: Sequence[Video], versions: dict[str, str], store: FeatureStore) -> ray.data.Dataset:
        rows = {"video": [v.model_dump_json() for v in todo], "version": [versions[v.video_id] for v in todo]}
        blocks = -(-len(todo) // self.config.videos_per_block)
        return (
            ray.data.from_arrow(pa.table(rows, schema=TODO), override_num_blocks=blocks)
            .map_batches(
                DecodeVideos(store.key.sampling, self.limits, store.key.frame_size, self.decode_with),
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=self.config.cpus_per_decode,
                # Stages of equal requests are fused: decoding would run inside the encoder's actors, not beside them.
                memory=self.config.memory_per_decode,
            )
            .map_batches(
                EncodeVideos,
                fn_constructor_kwargs={"config": self.encoders, "key": store.key, "cache": self.cache},
                batch_size=None,
                batch_format="pyarrow",
                zero_copy_batch=True,
                compute=ray.data.ActorPoolStrategy(size=self.config.encoder_actors),
                num_cpus=self.config.cpus_per_encoder,
                num_gpus=self.config.gpus_per_encoder,
            )
            .map_batches(StoreRows(store), batch_size=None, batch_format="pyarrow", num_cpus=0.1)
        )
