"""The upper bound of throughput: each stage alone on this hardware, without other costs."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ray

from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.load import Encoders, load_encoders
from rayreel.failures import Rejected
from rayreel.features.key import EncoderKey
from rayreel.features.pipeline import Pipeline
from rayreel.features.report import Throughput
from rayreel.media.clip import Clip


@dataclass(frozen=True, slots=True)
class Ideal:
    """Rates of each stage alone, videos per second; that of speech recognition is 0 without any."""

    decode_rate: float
    encode_rate: float
    cores: int
    gpus: float
    transcribe_rate: float = 0.0
    speech_gpus: float = 0.0

    @staticmethod
    def of(run: Throughput) -> "Ideal | None":
        """Return the rates that follow from what the videos of a run cost; None before the first.

        On CPUs these are the core seconds that each stage took, so that nothing has to be measured after the run; on a
        GPU, encoding costs what bare passes took when the number of rows was chosen, and speech the time of its calls.
        """
        if not (run.decode_cost_s and run.encode_cost_s):
            return None
        decode_s, encode_s = run.decode_cost_s / run.costed, run.encode_cost_s / run.costed
        speech_s = run.transcribe_cost_s / run.spoken if run.spoken else 0.0
        transcribe_rate = (run.speech_gpus or run.cores) / speech_s if speech_s else 0.0
        encode_rate = (run.gpus or run.cores) / encode_s
        return Ideal(run.cores / decode_s, encode_rate, run.cores, run.gpus, transcribe_rate, run.speech_gpus)

    @property
    def limit(self) -> str:
        """The stage that limits: the slowest one or, where stages share the cores, the one that takes most of them."""
        rates = {"decode": self.decode_rate, "speech": self.transcribe_rate, "encode": self.encode_rate}
        return min((stage for stage, rate in rates.items() if rate), key=rates.__getitem__)

    @property
    def videos_per_s(self) -> float:
        """Stages on GPUs run at the same time as others, so the slowest is the limit; on CPUs they share the cores."""
        return 1 / self._needed_s(1, 1, 1)

    def efficiency(self, run: Throughput) -> float:
        """Return the time that the bare loops need for the videos of a run, divided by the time that it took."""
        return self._needed_s(run.decoded, run.transcribed, run.encoded) / run.seconds if run.seconds else 0.0

    def _needed_s(self, decoded: float, transcribed: float, encoded: float) -> float:
        on_cores_s, encode_s = decoded / self.decode_rate, encoded / self.encode_rate
        speech_s = transcribed / self.transcribe_rate if self.transcribe_rate else 0.0
        on_cores_s += (0 if self.gpus else encode_s) + (0 if self.speech_gpus else speech_s)
        return max(on_cores_s, speech_s, encode_s)

    @property
    def decode_core_ms(self) -> float:
        """Core time of decoding one video."""
        return 1000 * self.cores / self.decode_rate

    @property
    def transcribe_ms(self) -> float:
        """Core time (or GPU time) of recognising the speech of one video; 0 without."""
        return 1000 * (self.speech_gpus or self.cores) / self.transcribe_rate if self.transcribe_rate else 0.0

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
    on_gpu = bool(gpus and capacity.gpus_per_speech)
    here = Work(0.0, not gpus, 0.0 if pipeline.speech and not on_gpu else None)
    paces = _paces([_loop(pipeline, key, chosen, here) for _ in range(cores)])
    if gpus:
        speaking = capacity.gpus_per_speech if on_gpu else None
        encoders = [_loop(pipeline, key, chosen, Work(gpus, True, speaking)) for _ in range(capacity.encoders)]
        there = _paces(encoders)
        paces = Pace(paces.decode_rate, there.encode_rate, paces.transcribe_rate + there.transcribe_rate)
    if not (paces.decode_rate and paces.encode_rate):
        return None
    speech_gpus = capacity.speech_gpus if on_gpu else 0.0
    return Ideal(paces.decode_rate, paces.encode_rate, cores, capacity.gpus, paces.transcribe_rate, speech_gpus)


@dataclass(frozen=True, slots=True)
class Work:
    """What a process of the measurement does besides decoding, and the GPUs of each; None without speech."""

    gpus: float
    encoding: bool
    speech_gpus: float | None


@dataclass(frozen=True, slots=True)
class Pace:
    """Videos per second of the time spent in each stage; 0 for a stage that did not run."""

    decode_rate: float
    encode_rate: float
    transcribe_rate: float = 0.0


def _paces(loops: list[ray.actor.ActorHandle]) -> Pace:
    """Return the sum of the loops' rates. An untimed first round ensures that all loops have started."""
    ray.get([loop.run.remote(1) for loop in loops])
    paces: list[Pace] = ray.get([loop.run.remote(None) for loop in loops])
    for loop in loops:
        ray.kill(loop)
    return Pace(
        sum(pace.decode_rate for pace in paces),
        sum(pace.encode_rate for pace in paces),
        sum(pace.transcribe_rate for pace in paces),
    )


def _loop(pipeline: Pipeline, key: EncoderKey, videos: list[CatalogVideo], work: Work) -> ray.actor.ActorHandle:
    where = pipeline.config.encode_on if work.gpus else pipeline.config.decode_on
    options = {"num_cpus": 0, "num_gpus": work.gpus, "label_selector": where or None}
    return ray.remote(_BareLoop).options(**options).remote(pipeline, key, videos, work)


class _BareLoop:
    """One process of the measurement; it always decodes. All processes start their rounds together."""

    def __init__(self, pipeline: Pipeline, key: EncoderKey, videos: list[CatalogVideo], work: Work) -> None:
        self.pipeline, self.key, self.videos = pipeline, key, videos
        encoding = pipeline.encoder_config(work.gpus) if work.encoding else None
        self.encoders = None if encoding is None else load_encoders(encoding, pipeline.cache)
        self.transcriber = None if work.speech_gpus is None else pipeline.transcriber(work.speech_gpus)

    def run(self, blocks: int | None) -> Pace:
        """Decode, transcribe and encode block by block; the rate of each stage is per second spent in it."""
        size = self.pipeline.config.videos_per_block
        decode_s = encode_s = speech_s = 0.0
        decoded = good = 0
        for start in range(0, len(self.videos), size)[:blocks]:
            videos = self.videos[start : start + size]
            begun = time.perf_counter()
            clips = [clip for clip in map(self._decode, videos) if isinstance(clip, Clip)]
            between = time.perf_counter()
            if self.transcriber is not None and clips:
                self.transcriber.transcribe([clip.track for clip in clips if clip.track is not None])
            spoken = time.perf_counter()
            if self.encoders is not None and clips:
                self._encode(self.encoders, clips)
            decode_s, speech_s = decode_s + between - begun, speech_s + spoken - between
            encode_s += time.perf_counter() - spoken
            decoded, good = decoded + len(videos), good + len(clips)
        encoded, transcribed = good * (self.encoders is not None), good * (self.transcriber is not None)
        return Pace(decoded / decode_s, encoded / encode_s, transcribed / speech_s)

    def _decode(self, video: CatalogVideo) -> Clip | Rejected:
        decode = self.pipeline.decoding(self.key, tracks=True)
        return decode.decode(decode.decoder(), video.uri)

    def _encode(self, encoders: Encoders, clips: list[Clip]) -> None:
        encoders.visual.encode(np.concatenate([clip.frames for clip in clips]))
        windows = [clip.windows for clip in clips if clip.windows is not None]
        if windows:
            encoders.audio.encode(np.concatenate(windows))
        encoders.text.encode([video.text() or "-" for video in self.videos[: len(clips)]])
