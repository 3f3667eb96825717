"""Measure the upper bound of throughput: decoding and encoding alone on this hardware, without other costs."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ray

from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.load import load_encoders
from rayreel.failures import Rejected
from rayreel.features.key import EncoderKey
from rayreel.features.pipeline import Pipeline
from rayreel.features.report import Throughput
from rayreel.media.clip import Clip
from rayreel.media.isolated import process_decoder


@dataclass(frozen=True, slots=True)
class Ideal:
    """Rates of the bare decoding and encoding loops, videos per second."""

    decode_rate: float
    encode_rate: float
    cores: int
    gpus: float

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
    videos: Sequence[CatalogVideo], key: EncoderKey, pipeline: Pipeline, cores: int, *, sample: int = 96, seed: int = 0
) -> Ideal | None:
    """Run the bare loops on a sample of the videos, one process per core (and per encoder GPU), all at once.

    The bare loops use the same sampling and models as the pipeline, without Ray Data and without writing. Decoding is
    sandboxed as always, since videos are untrusted. All cores are busy during the measurement, because one core alone
    is faster than one of many. Without GPUs each loop alternates between the stages, so some encode while others
    decode, as in the pipeline. Returns None if no video can be decoded.
    """
    chosen = random.Random(seed).sample(list(videos), min(sample, len(videos)))
    gpus = pipeline.gpus_per_encoder()
    paces = _paces([_loop(pipeline, key, chosen, gpus=0) for _ in range(cores)], encoding=not gpus)
    if gpus:
        encoders = [_loop(pipeline, key, chosen, gpus=gpus) for _ in range(pipeline.encoder_actors())]
        paces = Pace(paces.decode_rate, _paces(encoders, encoding=True).encode_rate)
    if not (paces.decode_rate and paces.encode_rate):
        return None
    return Ideal(paces.decode_rate, paces.encode_rate, cores, gpus * pipeline.encoder_actors() if gpus else 0)


@dataclass(frozen=True, slots=True)
class Pace:
    """Videos per second of the time spent in each stage; 0 for a stage that did not run."""

    decode_rate: float
    encode_rate: float


def _paces(loops: list[ray.actor.ActorHandle], *, encoding: bool) -> Pace:
    """Return the sum of the loops' rates. An untimed first round ensures that all loops have started."""
    ray.get([loop.run.remote(1, encoding) for loop in loops])
    paces: list[Pace] = ray.get([loop.run.remote(None, encoding) for loop in loops])
    for loop in loops:
        ray.kill(loop)
    return Pace(sum(pace.decode_rate for pace in paces), sum(pace.encode_rate for pace in paces))


def _loop(pipeline: Pipeline, key: EncoderKey, videos: list[CatalogVideo], gpus: float) -> ray.actor.ActorHandle:
    where = pipeline.config.encode_on if gpus else pipeline.config.decode_on
    options = {"num_cpus": 0, "num_gpus": gpus, "label_selector": where or None}
    return ray.remote(_BareLoop).options(**options).remote(pipeline, key, videos)


class _BareLoop:
    """One process of the measurement. All processes start their rounds together."""

    def __init__(self, pipeline: Pipeline, key: EncoderKey, videos: list[CatalogVideo]) -> None:
        self.pipeline, self.key, self.videos = pipeline, key, videos
        self.encoders = load_encoders(pipeline.encoder_config(), pipeline.cache)

    def run(self, blocks: int | None, encoding: bool) -> Pace:
        """Decode and encode block by block; the rate of each stage is per second spent in it."""
        size = self.pipeline.config.videos_per_block
        decode_s = encode_s = 0.0
        decoded = encoded = 0
        for start in range(0, len(self.videos), size)[:blocks]:
            videos = self.videos[start : start + size]
            begun = time.perf_counter()
            clips = [clip for clip in map(self._decode, videos) if isinstance(clip, Clip)]
            between = time.perf_counter()
            if encoding and clips:
                self._encode(clips)
            decode_s, encode_s = decode_s + between - begun, encode_s + time.perf_counter() - between
            decoded, encoded = decoded + len(videos), encoded + encoding * len(clips)
        return Pace(decoded / decode_s, encoded / encode_s)

    def _decode(self, video: CatalogVideo) -> Clip | Rejected:
        limits = self.pipeline.limits
        decoder = process_decoder(limits.max_memory_bytes, limits.allowed_roots)
        return decoder.decode(video.uri, self.key.sampling, self.key.frame_size, limits)

    def _encode(self, clips: list[Clip]) -> None:
        self.encoders.visual.encode(np.concatenate([clip.frames for clip in clips]))
        windows = [clip.windows for clip in clips if clip.windows is not None]
        if windows:
            self.encoders.audio.encode(np.concatenate(windows))
        self.encoders.text.encode([video.text() or "-" for video in self.videos[: len(clips)]])
