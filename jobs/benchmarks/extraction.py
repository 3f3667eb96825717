"""Extraction: the seeds' way, full decoding, and rayreel in each mode, on the same files and encoders."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.samplers import SIZE, Sampler, full_decode, longest_gap_s, opencv_seeks, rayreel
from rayreel.catalog.read import Catalog
from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.load import Encoders, load_encoders
from rayreel.features.extract import ExtractReport, extract
from rayreel.features.key import EncoderKey
from rayreel.features.store import FeatureStore
from rayreel.media.clip import Clip
from rayreel.media.config import SamplingConfig
from rayreel.media.decode import decode_file
from rayreel.settings import Settings
from rayreel.storage import Storage

MODES = ("exact", "keyframe", "auto")
DENSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Decoding:
    """What one sampler costs and gives: core milliseconds per video and pooled visual features, per clip."""

    core_ms: NDArray[np.float64]
    pooled: NDArray[np.float32]

    def cosine_to(self, other: "Decoding", rows: NDArray[np.bool_]) -> float:
        """Mean cosine of the pooled features of these clips."""
        return float((self.pooled[rows] * other.pooled[rows]).sum(axis=1).mean())


def samplers() -> dict[str, Sampler]:
    """All ways, the common one first."""
    return {
        "OpenCV, a seek per frame": opencv_seeks,
        "PyAV, every frame": full_decode,
        **{f"rayreel {mode}": rayreel(mode) for mode in MODES},
    }


def compare_decoding(paths: Sequence[Path], encoders: Encoders) -> dict[str, Decoding]:
    """Decode every clip in every way, interleaved, so that a noisy machine is noisy for all."""
    ways = samplers()
    cost = {name: np.zeros(len(paths)) for name in ways}
    pooled = {name: np.zeros((len(paths), encoders.visual.dim), np.float32) for name in ways}
    for row, path in enumerate(paths):
        for name, sampler in ways.items():
            started = time.process_time()
            frames = sampler(path)
            cost[name][row] = 1000 * (time.process_time() - started)
            if frames is not None:
                mean = encoders.visual.encode(frames).mean(axis=0)
                pooled[name][row] = mean / np.linalg.norm(mean)
    return {name: Decoding(cost[name], pooled[name]) for name in ways}


def dense(paths: Sequence[Path]) -> NDArray[np.bool_]:
    """Which clips have a keyframe at least every 2 s."""
    return np.array([longest_gap_s(path) <= DENSE_S for path in paths])


def one_by_one(videos: Sequence[CatalogVideo], sampler: Sampler, encoders: Encoders, settings: Settings) -> float:
    """Videos per second of one process that takes one video at a time through decoder and encoders."""
    sound = SamplingConfig(frames=1)
    started = time.perf_counter()
    for video in videos:
        frames = sampler(Path(video.uri))
        clip = decode_file(Path(video.uri), sound, SIZE, settings.limits)
        if frames is not None:
            encoders.visual.encode(frames)
        if isinstance(clip, Clip) and clip.windows is not None:
            encoders.audio.encode(clip.windows)
        encoders.text.encode([video.text() or "-"])
    return len(videos) / (time.perf_counter() - started)


def repeated(videos: Sequence[CatalogVideo], times: int) -> list[CatalogVideo]:
    """The same files as distinct ids."""
    return [video.model_copy(update={"video_id": f"{video.video_id}#{n}"}) for n in range(times) for video in videos]


def through_pipeline(videos: Sequence[CatalogVideo], mode: str, settings: Settings) -> tuple[ExtractReport, EncoderKey]:
    """One extraction into a store of its own, which is thrown away."""
    sampling = settings.sampling.model_copy(update={"mode": mode})
    encoders = load_encoders(settings.encoders, settings.weights_cache)
    key = EncoderKey.of(encoders, sampling)
    with tempfile.TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
        store = FeatureStore(Storage(folder), key)
        return extract(Catalog("benchmark", list(videos)), store, settings.pipeline), key
