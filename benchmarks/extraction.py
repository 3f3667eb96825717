"""Extraction: the common ways to sample frames, and rayreel, on the same files and encoders."""

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Measurement, Reference
from rayreel.catalog.read import Catalog, read_catalog
from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.manifest import write_manifest
from rayreel.catalog.sample.plan import plan_sample
from rayreel.catalog.video import CatalogVideo
from rayreel.cli.steps.ray_session import use_ray
from rayreel.encoders.load import Encoders, load_encoders
from rayreel.errors import RayreelError
from rayreel.features.extract import extract
from rayreel.features.ideal import measure_ideal
from rayreel.features.key import EncoderKey
from rayreel.features.store import FeatureStore
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file
from rayreel.media.frames import Squares
from rayreel.media.render.encode import render
from rayreel.settings import Settings
from rayreel.storage import Storage

Frames = NDArray[np.uint8]
Sampler = Callable[[Path], Frames | None]
SIZE, FRAMES = 224, 8


def measure_extraction(videos: list[CatalogVideo], repeat: int, settings: Settings, *, real: bool) -> list[Measurement]:
    """Measure decoding alone and the whole pipeline, each beside OpenCV, PyAV and the bare loops.

    Every file is extracted `repeat` times. Only `real` videos have floors: small rendered ones are easy for the peers.
    """
    opencv, pyav = (one_by_one(videos, sampler, settings) for sampler in (opencv_seeks, full_decode))
    use_ray()
    encoders = load_encoders(settings.encoders, settings.weights_cache)
    key = EncoderKey.of(encoders, settings.sampling)
    copies = [video.model_copy(update={"video_id": f"{video.video_id}#{n}"}) for n in range(repeat) for video in videos]
    with tempfile.TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
        report = extract(Catalog("benchmark", copies), FeatureStore(Storage(folder), key), settings.pipeline)
    rate = report.throughput.videos_per_s
    ideal = measure_ideal(videos, key, settings.pipeline, sample=len(videos))
    if not rate or ideal is None:
        raise RayreelError(f"{report.rows} videos end before the pipeline has a steady rate. Use a larger --repeat.")
    bare = rate / ideal.efficiency(report.throughput)
    limit = Reference(name="bare loops on all cores", value=bare, floor=0.85 if real else None)
    seeks = Reference(name="OpenCV, a seek per frame", value=opencv, floor=6 if real else None)
    whole = Reference(name="PyAV, every frame", value=pyav, floor=3 if real else None)
    return [
        Measurement(name="extraction", unit="videos/s", value=rate, peer=seeks, limit=limit),
        Measurement(name="extraction, PyAV", unit="videos/s", value=rate, peer=whole),
        *measure_decoding([Path(video.uri) for video in videos], encoders, settings.sampling, real),
    ]


def measure_decoding(paths: list[Path], encoders: Encoders, sampling: SamplingConfig, real: bool) -> list[Measurement]:
    """Measure the CPU time of sampling, interleaved by file, and the cosine of features to those of exact frames."""

    def decoded(config: SamplingConfig, path: Path) -> Frames | None:
        clip = decode_file(path, config, SIZE, Limits())
        return clip.frames if isinstance(clip, Clip) else None

    exact = partial(decoded, sampling.model_copy(update={"mode": "exact"}))
    ways: dict[str, Sampler] = {"peer": opencv_seeks, "exact": exact, "rayreel": partial(decoded, sampling)}
    cpu_s, pooled = dict.fromkeys(ways, 0.0), {name: np.zeros((len(paths), encoders.visual.dim)) for name in ways}
    for row, path in enumerate(paths):
        for name, sampler in ways.items():
            started = time.process_time()
            frames = sampler(path)
            cpu_s[name] += time.process_time() - started
            if frames is not None:
                mean_D = encoders.visual.encode(frames).mean(axis=0)
                pooled[name][row] = mean_D / np.linalg.norm(mean_D)
    cosine = (pooled["rayreel"] * pooled["exact"]).sum(axis=1).mean()
    seeks = Reference(name="OpenCV, a seek per frame", value=len(paths) / cpu_s["peer"], floor=5 if real else None)
    same = Reference(name="exact sampling", value=1, floor=0.97)
    return [
        Measurement(name="decoding", unit="videos/core-s", value=len(paths) / cpu_s["rayreel"], peer=seeks),
        Measurement(name="decoding, features", unit="cosine", value=float(cosine), limit=same),
    ]


def one_by_one(videos: Sequence[CatalogVideo], sampler: Sampler, settings: Settings) -> float:
    """Return the videos per second of one process that decodes and encodes one at a time, in torch with float32."""
    config = settings.encoders.model_copy(update={"runtime": "torch", "precision": "fp32"})
    encoders, sound = load_encoders(config, settings.weights_cache), SamplingConfig(frames=1)
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


def opencv_seeks(path: Path) -> Frames | None:
    """Sample as most code does: OpenCV, one seek per frame, resized as a full-size array."""
    video = cv2.VideoCapture(str(path))
    total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    taken = []
    for i in range(FRAMES):
        video.set(cv2.CAP_PROP_POS_FRAMES, int((i + 0.5) * total / FRAMES))
        good, picture = video.read()
        if good:
            taken.append(_square(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)))
    video.release()
    return np.stack(taken) if taken else None


def full_decode(path: Path) -> Frames | None:
    """Decode every frame with PyAV and keep some."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        total = stream.frames or sum(1 for _ in container.demux(stream))
        wanted = {int((i + 0.5) * total / FRAMES) for i in range(FRAMES)}
        container.seek(0)
        squares = Squares(SIZE, stream.sample_aspect_ratio)
        kept = [squares.of(picture) for number, picture in enumerate(container.decode(stream)) if number in wanted]
    return np.stack(kept) if kept else None


def sample_clips(folder: Path, clips: int) -> list[CatalogVideo]:
    """Render clips into a folder, one per category while there are categories."""
    plan = plan_sample(SampleConfig(clips=clips, categories=min(clips, 12), max_seconds=4, easy=True))
    for clip in plan:
        render(clip, folder / clip.file)
    return read_catalog(str(write_manifest(plan, folder))).videos


def _square(picture: Frames) -> Frames:
    height, width = picture.shape[:2]
    scale = SIZE / min(height, width)
    small = cv2.resize(picture, (max(SIZE, round(width * scale)), max(SIZE, round(height * scale))))
    top, left = (small.shape[0] - SIZE) // 2, (small.shape[1] - SIZE) // 2
    return np.ascontiguousarray(small[top : top + SIZE, left : left + SIZE])
