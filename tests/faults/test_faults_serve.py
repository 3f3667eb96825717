"""Faults under 50 requests a second: no request is lost, and each response is correct for its release."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.highest_rate import post
from benchmarks.load import LoadOutcome, LoadPlan, Response, send
from benchmarks.serving import free_port
from benchmarks.synthetic import register_tower
from chain import ROOT
from made_service import WEIGHTS, MadeService, made_service
from processes import kill_marked
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoder
from rayreel.features.store import open_store
from rayreel.release import registry
from rayreel.release.snapshot import load_snapshot
from rayreel.settings import Settings, load_settings
from rayreel.tower.embed import embed_query
from rayreel.training.tracking import use_tracking

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

RATE, VIDEOS, TOP_K = 50.0, 1000, 10
# Starting new replicas takes half a minute, on a busy machine a minute.
LONG_S = 120.0
TEXTS = ("a red ball bounces", "music for sleep", "how to cook rice", "rain on a window")
# Cosines of float32 vectors, summed in another order and rounded to six digits.
CLOSE = 2e-4
# Longest outage of queries other than by id after Milvus is killed, and longest switch of all replicas.
OUTAGE_S = 5.0


@dataclass(frozen=True)
class Query:
    """A query, and its vector in a release."""

    body: dict[str, object]
    vector: Callable[["Truth"], NDArray[np.float32]]
    video_id: str | None = None


@dataclass(frozen=True)
class Truth:
    """The correct data of a release: embeddings of its videos and of the queried texts."""

    place: dict[str, int]
    embeddings_ND: NDArray[np.float32]
    texts: dict[str, NDArray[np.float32]]


@dataclass
class Site:
    """The running service, the queries, and the correct data of each release."""

    service: MadeService
    settings: Settings
    loader: ProcessPoolExecutor
    queries: list[Query]
    releases: dict[int, Truth] = field(default_factory=dict)
    sent: list[Query] = field(default_factory=list)

    def steady(self, disturb: Callable[[], object], seconds: float = 60.0) -> LoadOutcome:
        """Run a load of `seconds`, disturb it after ten seconds, check all responses and return the outcome."""
        requests = [post("/v1/recommend", json.dumps(query.body).encode()) for query in self.queries]
        order = np.random.default_rng(0).integers(len(requests), size=int(RATE * seconds))
        address = urlsplit(self.service.url)
        assert address.hostname and address.port
        plan = LoadPlan(address.hostname, address.port, RATE, requests, order, patience_s=120.0, keep=True)
        running = self.loader.submit(send, plan)
        time.sleep(10)
        disturb()
        outcome = running.result()
        self.sent = [self.queries[place] for place in order]
        self._check(outcome.responses)
        return outcome

    def job(self, *words: str) -> None:
        """Run a job during the load, which must succeed."""
        command = [sys.executable, *words, "--storage", str(self.service.storage)]
        environment = self.service.environment
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def kill(self, name: str) -> None:
        """Send SIGKILL to one process with this name."""
        found = iter([True])
        killed = kill_marked(self.service.environment["RAY_TMPDIR"], lambda title: name in title and next(found, False))
        assert killed, name

    def release(self, version: int) -> Truth:
        """Return the correct data of a release, read once."""
        if version not in self.releases:
            self.releases[version] = truth(self.settings, version)
        return self.releases[version]

    def _check(self, answers: Sequence[Response]) -> None:
        for query, answer in zip(self.sent, answers, strict=True):
            if answer.status == httpx.codes.OK:
                content = json.loads(answer.body)
                wrong = mistake(self.release(content["release"]), query, content["results"])
                assert not wrong, (wrong, query.body, content)


def truth(settings: Settings, version: int) -> Truth:
    """Read the correct data from the release's files and its tower."""
    snapshot = load_snapshot(settings.place, version, Path(settings.storage) / "cache")
    tower = registry.load(registry.resolve(str(version)))
    encoder = load_encoder(Modality.TEXT, settings.encoders, settings.weights_cache)
    texts = {text: embed_query(tower, {Modality.TEXT: encoder.encode([text])}) for text in TEXTS}
    return Truth(snapshot.place, np.array(snapshot.embeddings_ND), texts)


def mistake(release: Truth, query: Query, results: list[dict[str, float | str]]) -> str:
    """Return the error of a response; empty if scores and, for queries by id, the nearest videos are correct."""
    cosines_N = release.embeddings_ND @ query.vector(release)
    if query.video_id is not None:
        cosines_N[release.place[query.video_id]] = -np.inf
    scores = np.array([result["score"] for result in results])
    true = np.array([cosines_N[release.place[str(result["video_id"])]] for result in results])
    if len(results) != TOP_K or not np.allclose(scores, true, atol=CLOSE):
        return f"scores {scores} of videos whose cosines are {true}"
    best = np.sort(cosines_N)[::-1][:TOP_K]
    if query.video_id is not None and not np.allclose(scores, best, atol=CLOSE):
        return f"scores {scores}, but the nearest have {best}"
    return ""


def by_id(video_id: str) -> Query:
    body = {"video_id": video_id, "top_k": TOP_K}
    return Query(body, lambda release: release.embeddings_ND[release.place[video_id]], video_id)


def by_embedding(vector: NDArray[np.float32]) -> Query:
    return Query({"embedding": vector.tolist(), "top_k": TOP_K}, lambda _: vector)


def by_text(text: str) -> Query:
    return Query({"text": text, "top_k": TOP_K}, lambda release: release.texts[text])


def sample_queries(settings: Settings) -> list[Query]:
    """Return queries: 80 % by id, 10 % by embedding, 10 % by text."""
    snapshot = load_snapshot(settings.place, 1, Path(settings.storage) / "cache")
    ids = [by_id(video_id) for video_id in snapshot.ids[:80]]
    embeddings = [by_embedding(np.array(snapshot.embeddings_ND[place])) for place in range(100, 110)]
    return [*ids, *embeddings, *(by_text(TEXTS[n % len(TEXTS)]) for n in range(10))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("serve")
    sets = [f"encoders.cache_dir={WEIGHTS}", "serve.timeout_s=100"]
    # A process of its own sends the load, so that the checks do not delay it.
    loader = ProcessPoolExecutor(1, get_context("spawn"))
    with made_service(folder, free_port(), VIDEOS, sets) as service, loader:
        settings = load_settings(None, sets, str(service.storage))
        use_tracking(settings.place)
        site = Site(service, settings, loader, sample_queries(settings))
        for query in site.queries[::30]:
            httpx.post(f"{service.url}/v1/recommend", json=query.body, timeout=60).raise_for_status()
        yield site


def summary(outcome: LoadOutcome) -> str:
    """Return the number of responses by status, and latencies."""
    quantiles = ", ".join(f"p{share:g} {outcome.quantile_ms(share / 100):.0f} ms" for share in (50, 99, 100))
    return f"{dict(Counter(outcome.status.tolist()))}, {quantiles}"


def test_a_killed_search_replica_loses_no_request(site: Site, record_property: Callable[..., None]) -> None:
    outcome = site.steady(lambda: site.kill("ServeReplica:rayreel:search"))
    record_property("outcome", summary(outcome))
    assert outcome.failed == 0, summary(outcome)


def test_a_killed_encode_replica_loses_no_request(site: Site, record_property: Callable[..., None]) -> None:
    outcome = site.steady(lambda: site.kill("ServeReplica:rayreel:encode"))
    record_property("outcome", summary(outcome))
    assert outcome.failed == 0, summary(outcome)


def test_a_promotion_loses_no_request_and_mixes_no_releases(site: Site, record_property: Callable[..., None]) -> None:
    serving = registry.resolve(registry.CHAMPION)
    store = open_store(site.settings.place, serving.encoder_key)
    better = register_tower(site.settings, store, seed=serving.number)
    words = ("jobs/promote.py", "--version", str(better.number), "--force", "the test of switching under load")
    outcome = site.steady(lambda: site.job(*words), LONG_S)
    record_property("outcome", summary(outcome))
    assert outcome.failed == 0, summary(outcome)
    releases = [json.loads(answer.body)["release"] for answer in outcome.responses]
    assert set(releases) == {serving.number, better.number}
    last_of_the_old = len(releases) - 1 - releases[::-1].index(serving.number)
    first_of_the_new = releases.index(better.number)
    # Replicas switch one after another within about a second.
    assert (last_of_the_old - first_of_the_new) / RATE < OUTAGE_S


def test_a_redeployment_loses_no_request(site: Site, record_property: Callable[..., None]) -> None:
    port = str(urlsplit(site.service.url).port)
    changed = ("--set", f"encoders.cache_dir={WEIGHTS}", "--set", "serve.timeout_s=99")
    outcome = site.steady(lambda: site.job("jobs/serve.py", "--port", port, *changed), LONG_S)
    record_property("outcome", summary(outcome))
    assert outcome.failed == 0, summary(outcome)


def test_a_killed_milvus_affects_no_query_by_id_and_delays_others(
    site: Site, record_property: Callable[..., None]
) -> None:
    outcome = site.steady(lambda: site.kill("MilvusLiteOwner"))
    record_property("outcome", summary(outcome))
    refused = [number for number, answer in enumerate(outcome.responses) if answer.status != httpx.codes.OK]
    for number in refused:
        answer = outcome.responses[number]
        assert site.sent[number].video_id is None, "queries by id are answered from memory"
        assert answer.status == httpx.codes.SERVICE_UNAVAILABLE and int(answer.headers["retry-after"]) >= 1, answer
    if refused:
        assert outcome.scheduled_s[refused[-1]] - outcome.scheduled_s[refused[0]] <= OUTAGE_S
