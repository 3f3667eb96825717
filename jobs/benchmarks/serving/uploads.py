"""Uploaded videos as queries: how many a second, with and without batching across requests."""

import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving.arrivals import Generator, Outcome, Plan
from benchmarks.serving.ladder import Rung, Target, climb
from benchmarks.serving.queries import post
from benchmarks.serving.service import reconfigure, running
from benchmarks.variants import Given
from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.plan import plan_sample
from rayreel.media.render.encode import render
from rayreel.settings import Settings

# Batch sizes of an encode replica: that of serve_apps/config.yaml, and one input at a time.
BATCHING = {"on": 32, "off": 1}
CLIPS = 12
TARGET = Target(within_ms=1000.0)


@dataclass(frozen=True, slots=True)
class Uploads:
    """Every rate that was tried with one setting of batching."""

    batching: str
    rungs: list[Rung]


def measure_uploads(settings: Settings, videos: int, given: Given, seconds: float, start: float) -> list[Uploads]:
    """Upload generated clips at rising rates, first with batching, then without, in one run of the service."""
    requests = [upload(clip) for clip in clips()]
    measured = []
    with Generator() as generator, running(settings, videos, given) as served:

        def drive(rate: float) -> Outcome:
            order = np.arange(max(1, int(rate * seconds))) % len(requests)
            return generator.send(Plan(served.host, served.port, rate, requests, order, patience_s=5.0))

        for batching, size in BATCHING.items():
            reconfigure(served.dashboard, "encode", {"max_batch_size": size, "batch_wait_timeout_s": 0.0})
            drive(start)
            measured.append(Uploads(batching, climb(drive, start, TARGET, precision=0.1)))
    return measured


def clips() -> list[bytes]:
    """Generated videos as files."""
    with tempfile.TemporaryDirectory(prefix="rayreel-uploads-") as folder:
        planned = plan_sample(SampleConfig(clips=CLIPS, categories=CLIPS))
        for clip in planned:
            render(clip, Path(folder) / clip.file)
        return [(Path(folder) / clip.file).read_bytes() for clip in planned]


def upload(content: bytes, title: str = "", path: str = "/v1/recommend/upload") -> bytes:
    """A whole HTTP request with a video as multipart/form-data (RFC 7578)."""
    mark = uuid.uuid4().hex
    fields = f'--{mark}\r\nContent-Disposition: form-data; name="title"\r\n\r\n{title}\r\n' if title else ""
    head = (
        f'{fields}--{mark}\r\nContent-Disposition: form-data; name="file"; filename="video.mp4"\r\n'
        "Content-Type: video/mp4\r\n\r\n"
    )
    body = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
    return post(path, body, f"multipart/form-data; boundary={mark}")
