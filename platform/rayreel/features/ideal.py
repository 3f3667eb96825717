"""The speed of light: how fast this hardware could go if nothing but decoding and encoding cost anything."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ray

from rayreel.catalog.video import Video
from rayreel.encoders.load import load_encoders
from rayreel.features.key import EncoderKey
from rayreel.features.pipeline import Pipeline
from rayreel.features.report import Throughput
from rayreel.media.clip import Clip
from rayreel.media.decode import decode


@dataclass(frozen=True, slots=True)
class Ideal:
    """Rates of the bare loops, videos per second with everything else switched off."""

    decode_rate: float
    encode_rate: float
    cores: int
    gpus: float

    @property
    def videos_per_s(self) -> float:
        """On GPUs both stages run side by side and the slower one counts; on CPUs alone they share the cores."""
        if self.gpus:
            return min(self.decode_rate, self.encode_rate)
        return 1 / (1 / self.decode_rate + 1 / self.encode_rate)

    def efficiency(self, run: Throughput) -> float:
        """The time that the bare loops would need for what a run decoded and encoded, over the time it took."""
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
    videos: Sequence[Video], key: EncoderKey, pipeline: Pipeline, cores: int, *, sample: int = 64, seed: int = 0
) -> Ideal | None:
    """Run the bare loops on a sample of the videos, one process per core (and per encoder GPU), all at once.

    Bare means: the same sampling, the same networks, nothing else; no Ray Data, no isolation, no writing. All cores
    are busy while it measures, because a core alone is faster than one among many. None when no video decodes.
    """
    chosen = random.Random(seed).sample(list(videos), min(sample, len(videos)))
    decoders = [_loop(pipeline, key, chosen, gpus=0) for _ in range(cores)]
    decode_rate = sum(ray.get([loop.decode.remote() for loop in decoders]))
    encoders = decoders
    if gpus := pipeline.gpus_per_encoder() * pipeline.encoder_actors():
        share = pipeline.gpus_per_encoder()
        encoders = [_loop(pipeline, key, chosen, gpus=share) for _ in range(pipeline.encoder_actors())]
        ray.get([loop.decode.remote() for loop in encoders])
    encode_rate = sum(ray.get([loop.encode.remote() for loop in encoders]))
    for loop in {*decoders, *encoders}:
        ray.kill(loop)
    return Ideal(decode_rate, encode_rate, cores, gpus) if decode_rate and encode_rate else None


def _loop(pipeline: Pipeline, key: EncoderKey, videos: list[Video], gpus: float) -> ray.actor.ActorHandle:
    return ray.remote(_BareLoop).options(num_cpus=0, num_gpus=gpus).remote(pipeline, key, videos)


class _BareLoop:
    """One process of the measurement; its rounds are started on all processes together."""

    def __init__(self, pipeline: Pipeline, key: EncoderKey, videos: list[Video]) -> None:
        self.pipeline, self.key, self.videos = pipeline, key, videos
        self.encoders = load_encoders(pipeline.encoders, pipeline.cache)
        self.clips: list[Clip] = []

    def decode(self) -> float:
        """Videos decoded per second, one after the other in this process."""
        started = time.perf_counter()
        limits = self.pipeline.limits
        decoded = [decode(video.uri, self.key.sampling, self.key.frame_size, limits) for video in self.videos]
        seconds = time.perf_counter() - started
        self.clips = [clip for clip in decoded if isinstance(clip, Clip)]
        return len(decoded) / seconds if self.clips else 0.0

    def encode(self) -> float:
        """Videos encoded per second, in blocks as the pipeline has them, from memory."""
        size = self.pipeline.config.videos_per_block
        blocks = [self.clips[start : start + size] for start in range(0, len(self.clips), size)]
        if not blocks:
            return 0.0
        self._encode(blocks[0])
        started = time.perf_counter()
        for block in blocks:
            self._encode(block)
        return len(self.clips) / (time.perf_counter() - started)

    def _encode(self, clips: list[Clip]) -> None:
        self.encoders.visual.encode(np.concatenate([clip.frames for clip in clips]))
        heard = [clip.windows for clip in clips if clip.windows is not None]
        if heard:
            self.encoders.audio.encode(np.concatenate(heard))
        self.encoders.text.encode([video.text() or "-" for video in self.videos[: len(clips)]])
