"""Serving under open-loop load: recommendations by id and by upload, beside a bare FastAPI server."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import ray
from ray import serve as ray_serve

from benchmarks.extraction import sample_clips
from benchmarks.highest_rate import IdLaw, draw, highest_rate, requests_by_id, upload_request
from benchmarks.load import LoadOutcome, LoadPlan, send
from benchmarks.measurement import Measurement, Reference
from benchmarks.synthetic import make_release
from rayreel.cli.steps.cluster import environment
from rayreel.cli.steps.serve import serve
from rayreel.index.embedded import stop_embedded
from rayreel.ray_access import protect
from rayreel.release import registry
from rayreel.release.snapshot import load_snapshot
from rayreel.settings import load_settings
from rayreel.tower.save import save_tower

FLOORS = {"by id, uniform": 1.0, "by id, zipf": 1.5, "by upload": 0.8}


@dataclass(frozen=True, slots=True)
class LoadTest:
    """Finds the highest rates of a server, each rate tried for `seconds` or longer; `process` sends the load."""

    process: ProcessPoolExecutor
    seconds: float

    def rates(self, url: str, path: str, ids: list[str], clips: list[bytes]) -> dict[str, float]:
        """Return the highest rates by kind of query: p99 at most 100 ms by id, 1 s by upload."""
        by_id, uploads = requests_by_id(path, ids), [upload_request(f"{path}/upload", clip) for clip in clips]
        return {
            "by upload": self.highest(url, uploads, "uniform", p99_ms=1000),  # first: it waits for the encoders to load
            "by id, uniform": self.highest(url, by_id, "uniform", p99_ms=100),
            "by id, zipf": self.highest(url, by_id, "zipf", p99_ms=100),
        }

    def highest(self, url: str, requests: list[bytes], law: IdLaw, p99_ms: float) -> float:
        """Return the highest rate held; the search begins a little below the rate of answers to too many requests."""
        # The longer an answer takes, the fewer connections: the server soon ends with a rate that was too high.
        host, port, connections = str(urlsplit(url).hostname), urlsplit(url).port or 80, int(6400 / p99_ms)
        seconds = max(self.seconds, 5 * p99_ms / 1000)  # in less, a rate far too high would delay no request by p99_ms

        def drive(rate: float, patience_s: float = 2 * p99_ms / 1000) -> LoadOutcome:
            order = draw(law, len(requests), max(1, int(rate * seconds)), seed=int(rate))
            plan = LoadPlan(host, port, rate, requests, order, connections, patience_s)
            return self.process.submit(send, plan).result()

        found = drive(2e6 / p99_ms, patience_s=0)
        return highest_rate(drive, max(1.0, 0.8 * (len(found.status) - found.failed) / seconds), p99_ms)


def measure_serving(config: Path | None, sets: list[str], root: Path, videos: int, seconds: float) -> list[Measurement]:
    """Measure the service, take it down, then measure the bare server alone on the machine with the same videos.

    The release is kept in `root` for the next run. This process must not have joined a Ray.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process, tempfile.TemporaryDirectory() as name:
        test, folder = LoadTest(process, seconds), Path(name)
        clips = [Path(video.uri).read_bytes() for video in sample_clips(folder, 12)]
        with rayreel_service(config, sets, root, videos, folder) as url:
            ids = json.loads((folder / "ids.json").read_text())
            ours = test.rates(url, "/v1/recommend", ids, clips)
        with bare_server(folder) as url:
            bare = test.rates(url, "/recommend", ids, clips)
            prepared = test.highest(url, requests_by_id("/prepared", ids), "uniform", p99_ms=100)
    limits = {"by id, uniform": Reference(name="FastAPI, prepared response", value=prepared or None)}
    peers = {name: Reference(name="bare FastAPI", value=bare[name] or None, floor=FLOORS[name]) for name in FLOORS}
    return [
        Measurement(name=f"recommend {name}", unit="requests/s", value=ours[name], peer=peer, limit=limits.get(name))
        for name, peer in peers.items()
    ]


@contextmanager
def rayreel_service(config: Path | None, sets: list[str], root: Path, videos: int, bare: Path) -> Iterator[str]:
    """Serve a synthetic release as `rayreel serve` does, on a Ray that ends with the block; yield its URL.

    Writes what the bare server needs into the folder `bare`.
    """
    settings = load_settings(config, sets, str(root))
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.update(environment(settings))
    protect()
    ray.init(address="local", num_cpus=max(4, os.cpu_count() or 1), include_dashboard=True, log_to_driver=False)
    try:
        version = make_release(settings, videos)
        snapshot = load_snapshot(settings.place, version.number, root / "cache")
        np.save(bare / "embeddings.npy", np.array(snapshot.embeddings_ND))
        (bare / "ids.json").write_text(json.dumps(snapshot.ids))
        (bare / "settings.json").write_text(settings.model_dump_json())
        save_tower(registry.load(version), bare)
        yield serve(settings, config, sets, free_port())
    finally:
        ray_serve.shutdown()  # HAProxy is a process that Ray does not know
        if settings.milvus_dir is not None:
            stop_embedded(settings.milvus_dir)
        ray.shutdown()


@contextmanager
def bare_server(folder: Path) -> Iterator[str]:
    """Run the bare server in a process of its own; yield its URL."""
    url = f"http://127.0.0.1:{free_port()}"
    words = [sys.executable, "-m", "benchmarks.bare_server", str(folder), url.rpartition(":")[2]]
    process = subprocess.Popen(words, cwd=Path(__file__).parents[1])
    try:
        retrying = httpx.HTTPTransport(retries=8)  # of connecting, after 0.5, 1, 2 … seconds
        httpx.Client(transport=retrying).get(f"{url}/docs").raise_for_status()
        yield url
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
