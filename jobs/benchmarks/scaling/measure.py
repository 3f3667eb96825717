"""What a block costs here: the pipeline's own stages without Ray Data, and Ray Data without the stages."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray
import ray.data

from benchmarks.scaling.costs import Costs, Overhead
from benchmarks.scaling.processors import cpu_s
from rayreel.catalog.video import CatalogVideo
from rayreel.errors import RayreelError
from rayreel.features.config import ExtractConfig
from rayreel.features.decoding import DecodeVideos
from rayreel.features.encoding import EncodeVideos
from rayreel.features.key import EncoderKey
from rayreel.features.pipeline import Pipeline
from rayreel.features.rows import TODO
from rayreel.features.store import FeatureStore
from rayreel.features.storing import StoreRows
from rayreel.storage import Storage


class TooFewVideos(RayreelError):
    """There are not enough videos to learn what a block of them costs."""


def measure_costs(videos: Sequence[CatalogVideo], key: EncoderKey, pipeline: Pipeline, loops: int, size: int) -> Costs:
    """Take all videos, in blocks of `size`, through decoding, encoding and storing, in so many processes at once.

    The pipeline's own stages with isolated decoders, without Ray Data, whose overhead is measured apart, for blocks as
    the pipeline is configured. As many processes as share the cores when it counts: one alone on its core is faster.
    What counts is CPU time, so that others on the machine hardly matter; encoders are on CPUs. Raises
    TooFewVideos where there are not two blocks for each process.
    """
    blocks = [_todo(videos[start : start + size]) for start in range(0, len(videos) - size + 1, size)]
    if len(blocks) < 2 * loops:
        raise TooFewVideos(
            f"{len(videos)} videos are {len(blocks)} blocks of {size}; {2 * loops} are needed, two for each of {loops} "
            f"processes. Give a catalog of at least {2 * loops * size} videos."
        )
    with tempfile.TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
        place = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
        store = FeatureStore(Storage(folder), key)
        store.create()
        actors = [ray.remote(_Stages).options(**place).remote(pipeline, store) for _ in range(loops)]
        ray.get([actor.run.remote(blocks[:1]) for actor in actors])
        shares = [actor.run.remote(blocks[number::loops]) for number, actor in enumerate(actors)]
        spent = np.array([block for share in ray.get(shares) for block in share])
        for actor in actors:
            ray.kill(actor)
    full_bytes = spent[:, 3].mean() / size * pipeline.config.videos_per_block
    overhead = measure_overhead(pipeline, round(full_bytes))
    return Costs(size, spent[:, 0], spent[:, 1], spent[:, 2], overhead)


class _Stages:
    """One process of the measurement."""

    def __init__(self, pipeline: Pipeline, store: FeatureStore) -> None:
        self.decode = DecodeVideos(store.key.sampling, pipeline.limits, store.key.frame_size, pipeline.decode_with)
        self.encode = EncodeVideos(pipeline.encoder_config(), store.key, pipeline.cache)
        self.store = StoreRows(store)

    def run(self, blocks: list[pa.Table]) -> list[tuple[float, float, float, int]]:
        """CPU seconds of decoding, encoding and storing each block, and bytes of it when decoded."""
        return [self._through(block) for block in blocks]

    def _through(self, block: pa.Table) -> tuple[float, float, float, int]:
        spent = [cpu_s().sum()]
        decoded = self.decode(block)
        spent.append(cpu_s().sum())
        encoded = self.encode(decoded)
        spent.append(cpu_s().sum())
        self.store(encoded)
        spent.append(cpu_s().sum())
        decode_s, encode_s, store_s = np.diff(spent).tolist()
        return decode_s, encode_s, store_s, decoded.nbytes


def measure_overhead(pipeline: Pipeline, block_bytes: int, blocks: int = 150) -> Overhead:
    """CPU time of a block in the same plan of stages that do nothing but hand on as many bytes.

    Of all that the driver has started; and of the driver's process with blocks of one byte: it never touches them, and
    has to be busy, as what its loop costs while it has nothing to do is not the blocks'. Both after the first blocks,
    which pay for starting up. Needs a Ray that this process has started.
    """
    driver_s, _ = _spent_on(pipeline, 1, 3 * blocks)
    _, node_s = _spent_on(pipeline, block_bytes, blocks)
    return Overhead(driver_s, node_s)


def _spent_on(pipeline: Pipeline, block_bytes: int, blocks: int) -> tuple[float, float]:
    """CPU seconds of the driver, and of what it has started, on a block in the empty plan."""
    before, first, number = cpu_s(), blocks // 3, 0
    batches = _empty_plan(pipeline.config, pipeline.encoder_actors(), block_bytes, blocks)
    for number, _ in enumerate(batches.iter_batches(batch_size=None, batch_format="pyarrow"), start=1):
        if number == first:
            before = cpu_s()
    driver_s, node_s = ((cpu_s() - before) / (number - first)).tolist()
    return driver_s, node_s


def _empty_plan(config: ExtractConfig, actors: int, block_bytes: int, blocks: int) -> ray.data.Dataset:
    rows = pa.table({"block": pa.array(range(blocks))})
    return (
        ray.data.from_arrow(rows, override_num_blocks=blocks)
        .map_batches(
            _Payload(block_bytes),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=config.cpus_per_decode,
            memory=config.memory_per_decode,
        )
        .map_batches(
            _Keep,
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=config.cpus_per_encoder,
        )
        .map_batches(_Keep(), batch_size=None, batch_format="pyarrow", num_cpus=0.05)
    )


@dataclass(frozen=True, slots=True)
class _Payload:
    """Adds so many bytes to a block."""

    size: int

    def __call__(self, block: pa.Table) -> pa.Table:
        payload = pa.array([bytes(self.size), *[None] * (block.num_rows - 1)], pa.large_binary())
        return block.append_column("payload", payload)


class _Keep:
    """Hands on the block's numbers, as the encoder hands on far less than it gets."""

    def __call__(self, block: pa.Table) -> pa.Table:
        return block.select(["block"])


def _todo(videos: Sequence[CatalogVideo]) -> pa.Table:
    rows = {"video": [video.model_dump_json() for video in videos], "version": [video.video_id for video in videos]}
    return pa.table(rows, schema=TODO)
