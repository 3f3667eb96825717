"""The upper bound of throughput: decoding and encoding alone on this hardware, without other costs."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ray

from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.load import Encoders, load_encoders
from rayreel.failures import Rejected
from rayreel.features.key import EncoderKey
from rayreel.features.pipeline import Pipeline
from rayreel.features.report import Throughput
from rayreel.media.clip import Clip
from rayreel.media.isolated import process_decoder


@dataclass(frozen=True, slots=True)
class Ideal:
    """Rates of bare decoding and encoding, videos per second."""

    decode_rate: float
    encode_rate: float
    cores: int
    gpus: float

    @staticmethod
    def of(run: Throughput) -> "Ideal | None":
        """Return the rates that follow from what the videos of a run cost; None before the first.

        On CPUs these are the core seconds that decoding and encoding took, so that nothing has to be measured after the
        run; on a GPU, encoding costs what bare passes took when the number of rows was chosen.
        """
        if not (run.decode_cost_s and run.encode_cost_s):
            return None
        decode_s, encode_s = run.decode_cost_s / run.decoded, run.encode_cost_s / run.encoded
        return Ideal(run.cores / decode_s, (run.gpus or run.cores) / encode_s, run.cores, run.gpus)

    @property
    def limit(self) -> str:
        """The stage that limits: the slower one or, where both share the cores, the one that takes more of them."""
        return "encode" if self.encode_rate < self.decode_rate else "decode"

    @property
    def videos_per_s(self) -> float:
        """With GPUs both stages run at the same time, so the slower one is the limit; on CPUs they share the cores."""
        if self.gpus:
            return min(self.decode_rate, self.encode_rate)
        return 1 / (1 / self.decode_rate + 1 / self.encode_rate)

    def efficiency(self, run: Throughput) -> float:
        """Return the time that the bare loops need for the videos of a run, divided by the time that it took."""
        decode_s, encode_s = run.decoded / self.decode_rate, run.encoded / self.encode_rate
        needed_s = max(decode_s, encode_s) if self.gpus else decode_s + encode_s
        return needed_s / run.seconds if run.seconds else 0.0

    @property
    def decode_core_ms(self) -> float:
        """Core time of decoding one video."""
        return 1000 * self.cores / self.decode_rate

    @property
    def encode_ms(self) -> float:
        """Core time (or GPU time) of encoding one video."""
        return 1000 * (self.gpus or self.cores) / self.encode_rate


def measure_ideal(
    videos: Sequence[CatalogVideo], key: EncoderKey, pipeline: Pipeline, *, sample: int = 96, seed: int = 0
) -> Ideal | None:
    """Run the bare loops on a sample of the videos, one process per core (and per encoder GPU), all at once.

    The bare loops use the same sampling and models as the pipeline, without Ray Data and without writing. Decoding is
    sandboxed as always, since videos are untrusted. All cores are busy during the measurement, because one core alone
    is faster than one of many. Without GPUs each loop alternates between the stages, so some encode while others
    decode, as in the pipeline. Returns None if no video can be decoded.
    """
    chosen = random.Random(seed).sample(list(videos), min(sample, len(videos)))
    capacity = pipeline.capacity()
    gpus, cores = capacity.gpus_per_encoder, capacity.cores
    paces = _paces([_loop(pipeline, key, chosen, gpus=0, encoding=not gpus) for _ in range(cores)])
    if gpus:
        encoders = [_loop(pipeline, key, chosen, gpus=gpus, encoding=True) for _ in range(capacity.encoders)]
        paces = Pace(paces.decode_rate, _paces(encoders).encode_rate)
    if not (paces.decode_rate and paces.encode_rate):
        return None
    return Ideal(paces.decode_rate, paces.encode_rate, cores, capacity.gpus)


@dataclass(frozen=True, slots=True)
class Pace:
    """Videos per second of the time spent in each stage; 0 for a stage that did not run."""

    decode_rate: float
    encode_rate: float


def _paces(loops: list[ray.actor.ActorHandle]) -> Pace:
    """Return the sum of the loops' rates. An untimed first round ensures that all loops have started."""
    ray.get([loop.run.remote(1) for loop in loops])
    paces: list[Pace] = ray.get([loop.run.remote(None) for loop in loops])
    for loop in loops:
        ray.kill(loop)
    return Pace(sum(pace.decode_rate for pace in paces), sum(pace.encode_rate for pace in paces))


def _loop(
    pipeline: Pipeline, key: EncoderKey, videos: list[CatalogVideo], gpus: float, *, encoding: bool
) -> ray.actor.ActorHandle:
    where = pipeline.config.encode_on if gpus else pipeline.config.decode_on
    options = {"num_cpus": 0, "num_gpus": gpus, "label_selector": where or None}
    config = pipeline.encoder_config(gpus) if encoding else None
    return ray.remote(_BareLoop).options(**options).remote(pipeline, key, videos, config)


class _BareLoop:
    """One process of the measurement; without encoders it only decodes. All processes start their rounds together."""

    def __init__(
        self, pipeline: Pipeline, key: EncoderKey, videos: list[CatalogVideo], config: EncodersConfig | None
    ) -> None:
        self.pipeline, self.key, self.videos = pipeline, key, videos
        self.encoders = None if config is None else load_encoders(config, pipeline.cache)

    def run(self, blocks: int | None) -> Pace:
        """Decode and encode block by block; the rate of each stage is per second spent in it."""
        size = self.pipeline.config.videos_per_block
        decode_s = encode_s = 0.0
        decoded = encoded = 0
        for start in range(0, len(self.videos), size)[:blocks]:
            videos = self.videos[start : start + size]
            begun = time.perf_counter()
            clips = [clip for clip in map(self._decode, videos) if isinstance(clip, Clip)]
            between = time.perf_counter()
            if self.encoders is not None and clips:
                self._encode(self.encoders, clips)
                encoded += len(clips)
            decode_s, encode_s = decode_s + between - begun, encode_s + time.perf_counter() - between
            decoded += len(videos)
        return Pace(decoded / decode_s, encoded / encode_s)

    def _decode(self, video: CatalogVideo) -> Clip | Rejected:
        limits = self.pipeline.limits
        decoder = process_decoder(limits.max_memory_bytes, limits.allowed_roots)
        return decoder.decode(video.uri, self.key.sampling, self.key.frame_size, limits)

    def _encode(self, encoders: Encoders, clips: list[Clip]) -> None:
        encoders.visual.encode(np.concatenate([clip.frames for clip in clips]))
        windows = [clip.windows for clip in clips if clip.windows is not None]
        if windows:
            encoders.audio.encode(np.concatenate(windows))
        encoders.text.encode([video.text() or "-" for video in self.videos[: len(clips)]])
