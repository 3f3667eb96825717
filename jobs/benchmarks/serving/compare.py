"""Recommending by id: the service beside the bare server and beside Milvus itself, on the same videos."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from benchmarks.serving import direct
from benchmarks.serving.arrivals import Generator, Outcome, Plan
from benchmarks.serving.bare import write_data
from benchmarks.serving.ladder import Rung, Target, best, climb
from benchmarks.serving.queries import Law, by_id, draw, post
from benchmarks.serving.service import Served, free_port, running
from benchmarks.variants import Given
from rayreel.index.collection import collection_name
from rayreel.index.connect import connect
from rayreel.index.search import VideoIndex
from rayreel.release.snapshot import Snapshot
from rayreel.settings import Settings

SERVICE, BARE, MILVUS = "rayreel", "bare FastAPI and NumPy", "Milvus, searched directly"
LAWS: tuple[Law, ...] = ("uniform", "zipf")
TOP_K = 10
# Where everything holds its rate: what one request costs when nothing waits.
CALM_RATE = 20.0
_JOBS = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Climb:
    """Every rate that was tried of one server under one law of ids."""

    server: str
    law: Law
    rungs: list[Rung]

    @property
    def rate(self) -> float:
        """The highest rate held, 0 where none was."""
        found = best(self.rungs)
        return 0.0 if found is None else found.rate


@dataclass(frozen=True, slots=True)
class Calm:
    """One way of asking at a rate at which nothing waits."""

    what: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that was measured."""

    climbs: list[Climb]
    calm: list[Calm]

    def rate(self, server: str, law: Law) -> float:
        """The highest rate that a server held."""
        return next(climb.rate for climb in self.climbs if climb.server == server and climb.law == law)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long each rate is tried, where the ladder starts, and how precise its end is."""

    seconds: float = 8.0
    start: float = 200.0
    precision: float = 0.1
    within_ms: float = 100.0


def compare(settings: Settings, videos: int, given: Given, effort: Effort) -> Comparison:
    """Measure the service and Milvus, take both down, then measure the bare server alone on the machine."""
    climbs: list[Climb] = []
    with Generator() as generator:
        with running(settings, videos, given) as served:
            snapshot, address = served.snapshot, (served.host, served.port)
            requests = by_id("/v1/recommend", snapshot.ids, TOP_K)
            calm = [*_calm(generator, served, effort), *_milvus(served, effort)]
            for law in LAWS:
                climbs.append(Climb(SERVICE, law, _climb(generator, address, requests, law, effort)))
            arrays = snapshot.ids, np.array(snapshot.embeddings_ND)
        with bare_server(*arrays) as port:
            requests = by_id("/recommend", snapshot.ids, TOP_K)
            for law in LAWS:
                climbs.append(Climb(BARE, law, _climb(generator, ("127.0.0.1", port), requests, law, effort)))
    return Comparison(climbs, calm)


@contextmanager
def bare_server(ids: list[str], embeddings_ND: "np.ndarray[tuple[int, int], np.dtype[np.float32]]") -> Iterator[int]:
    """The bare server in one process of its own; yields its port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="rayreel-bare-") as folder:
        write_data(Path(folder), ids, embeddings_ND)
        words = [sys.executable, "-m", "benchmarks.serving.bare", folder, str(port)]
        process = subprocess.Popen(words, cwd=_JOBS)
        try:
            _await(f"http://127.0.0.1:{port}/docs")
            yield port
        finally:
            process.kill()
            process.wait()


def _climb(
    generator: Generator, address: tuple[str, int], requests: list[bytes], law: Law, effort: Effort
) -> list[Rung]:
    def drive(rate: float) -> Outcome:
        order = draw(law, len(requests), max(1, int(rate * effort.seconds)), seed=int(rate))
        return generator.send(Plan(*address, rate, requests, order, patience_s=2.0))

    drive(CALM_RATE)  # connections, first calls, caches of the processor
    return climb(drive, effort.start, Target(within_ms=effort.within_ms), precision=effort.precision)


def _calm(generator: Generator, served: Served, effort: Effort) -> list[Calm]:
    """By id, which is answered from memory, and by embedding, which takes a search in Milvus."""
    embeddings_ND, address = served.snapshot.embeddings_ND, (served.host, served.port)
    order = draw("uniform", len(embeddings_ND), max(1, int(CALM_RATE * effort.seconds)))
    asked = sorted(set(order.tolist()))
    searches = [
        post("/v1/recommend", json.dumps({"embedding": embeddings_ND[place].tolist(), "top_k": TOP_K}).encode())
        for place in asked
    ]
    ids = by_id("/v1/recommend", served.snapshot.ids, TOP_K)
    rounds = [
        (f"{SERVICE}, by id", ids, order),
        (f"{SERVICE}, by embedding", searches, np.searchsorted(asked, order)),
    ]
    return [Calm(what, generator.send(Plan(*address, CALM_RATE, given, places))) for what, given, places in rounds]


def _milvus(served: Served, effort: Effort) -> list[Calm]:
    """The same searches from this process, without HTTP."""
    settings, snapshot = served.settings, served.snapshot
    index = VideoIndex(connect(settings.index, settings.milvus_dir), settings.index)
    collection = collection_name(served.version.number)
    order = draw("uniform", len(snapshot), max(1, int(CALM_RATE * effort.seconds)))
    return [Calm(MILVUS, direct.drive(lambda place: _search(index, snapshot, place, collection), CALM_RATE, order))]


def _search(index: VideoIndex, snapshot: Snapshot, place: int, collection: str) -> None:
    index.search(np.array(snapshot.embeddings_ND[place]), TOP_K, (snapshot.ids[place],), collection=collection)


def _await(url: str, patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            httpx.get(url)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
