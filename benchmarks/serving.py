"""Serving under open-loop load: recommendations by id and by upload, compared with a bare FastAPI server."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import ray

from benchmarks.bare_server import write_data
from benchmarks.extraction import sample_clips
from benchmarks.highest_rate import IdLaw, LatencyTarget, draw, highest_rate, requests_by_id, upload_request
from benchmarks.load import LoadOutcome, LoadPlan, load_process, send
from benchmarks.measurement import Measurement, Reference
from benchmarks.synthetic_release import make_release
from rayreel.errors import RayreelError
from rayreel.index.embedded import stop_embedded
from rayreel.ray_access import protect
from rayreel.release import registry
from rayreel.release.snapshot import load_snapshot
from rayreel.settings import Settings, load_settings

LAWS: dict[IdLaw, float] = {"uniform": 1.0, "zipf": 1.5}
"""How ids are drawn, and the floor of rayreel ÷ bare server."""
UPLOADS_FLOOR = 1.0
UPLOAD_TARGET = LatencyTarget(p99_ms=1000.0)


class RayIsRunning(RayreelError):
    """The benchmark needs a Ray of its own, because it deploys a service."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long each rate is tried, and the first rates: requests by id and uploads per second."""

    seconds: float = 8.0
    start: float = 200.0
    start_uploads: float = 4.0


@dataclass(slots=True)
class Server:
    """A running server. `rate` finds the highest rate at which it answers requests."""

    url: str
    process: object
    effort: Effort

    def rate(self, requests: list[bytes], law: IdLaw, start: float, target: LatencyTarget) -> float:
        """Return the highest rate held; one run at a low rate warms the server up."""
        address = urlsplit(self.url)

        def drive(rate: float) -> LoadOutcome:
            order = draw(law, len(requests), max(1, int(rate * self.effort.seconds)), seed=int(rate))
            plan = LoadPlan(str(address.hostname), address.port or 80, rate, requests, order, patience_s=2.0)
            return self.process.submit(send, plan).result()

        drive(start / 10)
        return highest_rate(drive, start, target)
