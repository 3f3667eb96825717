"""The whole chain, from videos to HTTP responses."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from chain import CLIPS, Chain
from listeners import Listener, listeners, with_children
from processes import marked, title
from rayreel.client.client import Client
from rayreel.client.operation import Operations
from rayreel.recommendation.live import load_live
from rayreel.storage import Storage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROBLEM = "application/problem+json"
RAY = Path(sys.executable).with_name("ray")


def table_row(chain: Chain, name: str) -> str:
    return next(row.split("│")[2].strip() for row in chain.output.splitlines() if f"│ {name} " in row)


def test_every_catalog_row_is_indexed_or_in_quarantine(chain: Chain) -> None:
    # 32 clips, mute and still are valid; truncated, notes, gone and the repeated id are not.
    assert table_row(chain, "rows in") == "38" and table_row(chain, "extracted") == "34"
    reasons = {"truncated": "1", "unreadable": "1", "missing_file": "1", "duplicate_id": "1"}
    assert {reason: table_row(chain, f"quarantined: {reason}") for reason in reasons} == reasons
    assert chain.ready()["index_size"] == 34


def test_the_quickstart_prints_every_step_and_ends_with_an_answer(chain: Chain) -> None:
    for step in ("cluster", "extract", "train", "evaluate", "promote", "serve", "recommend"):
        assert any(row.startswith(f"{step} ─") for row in chain.output.splitlines()), step
    assert "mean-pooled" in chain.output and "untrained tower" in chain.output
    assert f"curl -s {chain.url}/v1/recommend" in chain.output


def test_the_service_is_healthy_and_reports_the_serving_release(chain: Chain) -> None:
    assert httpx.get(f"{chain.url}/healthz").json() == {"status": "ok"}
    state = chain.ready()
    assert state["release"] >= 1 and state["device"] in {"cpu", "cuda", "mps"}
    assert set(state["encoders"]) == {"visual", "audio", "text"}


def test_a_query_by_id_finds_its_category_and_never_the_video_itself(chain: Chain) -> None:
    results = chain.recommend(video_id="ocean_waves_001", top_k=5)
    assert len(results) == 5 and "ocean_waves_001" not in {r["video_id"] for r in results}
    assert [r["category"] for r in results].count("ocean_waves") >= 4
    assert [r["score"] for r in results] == sorted((r["score"] for r in results), reverse=True)


def test_a_text_finds_videos_of_its_subject(chain: Chain) -> None:
    assert chain.recommend(text="a blizzard of snow in winter", top_k=3)[0]["category"] == "snowfall"
    assert chain.recommend(text="cars in neon light at night", top_k=3)[0]["category"] == "city_traffic"


def test_an_uploaded_video_finds_similar_videos(chain: Chain) -> None:
    video = chain.catalog.parent / "fireworks" / "fireworks_001.mp4"
    with video.open("rb") as file:
        answer = httpx.post(
            f"{chain.url}/v1/recommend/upload", files={"file": file}, data={"top_k": "4"}, timeout=60
        ).raise_for_status()
    results = answer.json()["results"]
    assert len(results) == 4 and results[0]["category"] == "fireworks"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"video_id": "no such video"}, 404),
        ({"video_id": 'quote " or 1==1', "top_k": 3}, 404),
        ({}, 422),
        ({"video_id": "ocean_waves_001", "text": "both"}, 422),
        ({"video_id": "ocean_waves_001", "top_k": 0}, 422),
        ({"text": "   "}, 422),
        ({"text": "waves", "unknown": 1}, 422),
    ],
)
def test_an_invalid_query_gets_problem_details(chain: Chain, body: dict[str, Any], status: int) -> None:
    answer = httpx.post(f"{chain.url}/v1/recommend", json=body, timeout=60)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["status"] == status and "Traceback" not in answer.text


def test_an_upload_that_is_not_a_video_gets_problem_details(chain: Chain) -> None:
    answer = httpx.post(f"{chain.url}/v1/recommend/upload", files={"file": b"no video at all" * 100}, timeout=60)
    assert answer.status_code == 422 and answer.headers["content-type"] == PROBLEM
    assert "unreadable" in answer.json()["detail"] and "/tmp" not in answer.text


def test_the_api_describes_itself(chain: Chain) -> None:
    described = httpx.get(f"{chain.url}/openapi.json").json()
    assert {"/healthz", "/readyz", "/v1/recommend", "/v1/recommend/upload"} <= set(described["paths"])
    assert httpx.get(f"{chain.url}/docs").status_code == 200


def listening(chain: Chain) -> list[Listener]:
    """Return the sockets that the quickstart's processes listen on."""
    return listeners(with_children(marked(chain.environment["RAY_TMPDIR"])))


def test_http_servers_listen_only_on_loopback(chain: Chain) -> None:
    front = [found for found in listening(chain) if "haproxy" in found.title.partition(" ")[0]]
    assert int(chain.url.rsplit(":", 1)[1]) in {found.port for found in front}
    assert {found.address for found in front} == {"127.0.0.1"}


def test_ports_beyond_loopback_require_the_token(chain: Chain) -> None:
    found = listening(chain)
    names = " ".join(listener.title for listener in found)
    for part in ("gcs_server", "raylet", "dashboard", "DashboardAgent", "RuntimeEnvAgent", "ServeReplica"):
        assert part in names, part
    assert "ray.util.client.server" not in names
    beyond = [listener for listener in found if not listener.is_on_loopback]
    assert all(listener.auth_mode == "token" for listener in beyond), beyond
    # Serve has no setting for the address on which replicas receive calls from other replicas.
    assert {listener.title.partition(":rayreel")[0] for listener in beyond} <= {"ray::ServeReplica"}, beyond


def test_no_port_runs_a_job_without_the_token(chain: Chain) -> None:
    job = {"entrypoint": "touch /tmp/rayreel-was-here"}

    def is_accepted(url: str) -> bool:
        try:
            return httpx.post(url, json=job, timeout=5).is_success
        except httpx.HTTPError:  # not an HTTP server
            return False

    ports = sorted({listener.port for listener in listening(chain)})
    urls = [f"http://127.0.0.1:{port}{path}" for port in ports for path in ("/api/jobs/", "/api/job_agent/jobs/")]
    with ThreadPoolExecutor(len(urls)) as threads:  # some ports do not answer
        assert not [url for url, accepted in zip(urls, threads.map(is_accepted, urls), strict=True) if accepted]
    for header, status in (({}, 401), ({"Authorization": "Bearer guessed"}, 403)):
        answer = httpx.post(f"{chain.dashboard}/api/jobs/", json={"entrypoint": "id"}, headers=header)
        assert answer.status_code == status


def test_the_users_token_runs_a_job_and_is_in_no_log_or_command_line(chain: Chain) -> None:
    token = Path(chain.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    header = {"Authorization": f"Bearer {token}"}
    answer = httpx.post(f"{chain.dashboard}/api/jobs/", json={"entrypoint": "true"}, headers=header)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert token not in chain.output + chain.errors
    assert not [pid for pid in marked(chain.environment["RAY_TMPDIR"]) if token in title(pid)]
    logs = [path for path in Path(chain.environment["RAY_TMPDIR"]).rglob("*") if path.is_file()]
    assert logs and not [path for path in logs if token.encode() in path.read_bytes()]


def test_a_job_with_another_token_is_refused_with_remedies(chain: Chain, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("b" * 64)
    other = replace(chain, environment=chain.environment | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")})
    refused = other.job("jobs/index.py")
    assert refused.returncode == 1 and "TokenRefused" in refused.stdout and "RAY_AUTH_TOKEN_PATH" in refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr


def test_ray_prints_nothing_during_the_quickstart(chain: Chain) -> None:
    assert ".cc:" not in chain.errors and "53727" not in chain.errors


def test_a_video_can_be_added_found_and_deleted(chain: Chain) -> None:
    file = chain.catalog.parent / "fireworks" / "fireworks_002.mp4"
    with Client(chain.url) as client:
        size = client.ready().index_size
        added = client.add_video(file, title="Rockets of my own", tags=["mine"], metadata={"views": 3})
        assert client.ready().index_size == size + 1
        assert client.video(added.video_id).title == "Rockets of my own"
        mine = {"extra.views": {"gte": 3}}
        assert [r.video_id for r in client.recommend(text="rockets", filter=mine).results] == [added.video_id]
        assert client.recommend(video_id=added.video_id, top_k=1).results[0].category == "fireworks"
        assert added.video_id in {r.video_id for r in client.recommend(video_id="fireworks_001", top_k=34).results}
        client.delete_video(added.video_id)
        assert client.ready().index_size == size
        assert client.recommend(text="rockets", filter=mine).results == []


def test_an_embedded_text_finds_the_same_category_as_the_text(chain: Chain) -> None:
    with Client(chain.url) as client:
        embedded = client.embed(["a blizzard of snow in winter"])
        by_words = client.recommend(text="a blizzard of snow in winter", top_k=5).results
        by_embedding = client.recommend(embedding=embedded.embeddings[0], top_k=5).results
    assert by_embedding[0].category == by_words[0].category == "snowfall"


def test_typing_errors_are_corrected_unless_the_encoders_know_the_word(chain: Chain) -> None:
    title = next(clip.title for clip in CLIPS if "blizzard" in clip.title)
    with Client(chain.url) as client:
        found = client.recommend(text=f"{title.replace('blizzard', 'blizard')} setting", hybrid=True, top_k=1)
    assert found.searched == f"{title} setting"
    assert found.results[0].title == title


def test_a_catalog_is_added_by_a_job_with_a_status(chain: Chain) -> None:
    more = chain.catalog.parent / "more.csv"
    more.write_text("video_id,uri,title\nfollowed,fireworks/fireworks_003.mp4,By a job\n")
    with Client(chain.url) as client:
        refused = httpx.post(f"{chain.url}/v1/videos/batch", json={"catalog": "/etc"})
        assert refused.status_code == 422
        job = client.add_catalog(str(more))
        deadline = time.monotonic() + 300
        while (job := client.job(job.id)).status in {"PENDING", "RUNNING"} and time.monotonic() < deadline:
            time.sleep(0.5)
        assert job.status == "SUCCEEDED", job
        assert client.video("followed").title == "By a job"
        seen = Operations.model_validate(httpx.get(f"{chain.url}/v1/operations", timeout=60).json())
        assert {each.id: each.status for each in seen.jobs or []}[job.id] == "SUCCEEDED"
        assert seen.replica is not None and seen.replica.looked_s is not None
        client.delete_video("followed")


def test_a_submitted_job_trains_a_version_and_its_promotion_switches_the_running_service(chain: Chain) -> None:
    before = chain.ready()["release"]
    job = "python jobs/train.py --epochs 1 --workers 1 --set train.refit=false"
    job += " --set splits.test=0.3 --set splits.validation=0.3"
    submitted = subprocess.run(
        [RAY, "job", "submit", "--address", chain.dashboard, "--working-dir", ".", "--", *job.split()],
        env=chain.environment | {"RAY_AUTH_MODE": "token"},  # as rayreel_ray.pth sets it in .venv
        capture_output=True,
        text=True,
        check=False,
    )
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    promoted = chain.job("jobs/promote.py", "--version", "challenger", "--force", "a test of the switch")
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    assert chain.ready()["release"] == before + 1
    answers = {version: _exact_answers(chain, version) for version in (before, before + 1)}
    assert answers[before] != answers[before + 1]
    assert chain.recommend(video_id="ocean_waves_001", top_k=20) == answers[before + 1]


def _exact_answers(chain: Chain, version: int) -> list[dict[str, Any]]:
    """Return the answer of one release to a query by id, after comparing it, and one by text, with all its vectors."""
    live = load_live(Storage(chain.storage), version, Path(chain.storage) / "cache")
    assert live is not None

    def ranked(query_D: np.ndarray, without: str = "") -> list[str]:
        scores = {row.video_id: float(live.vector(live.place(row.video_id)) @ query_D) for row in live.page("", 100)}
        return sorted(scores.keys() - {without}, key=lambda video_id: -scores[video_id])[:20]

    asked = "ocean_waves_001"
    found = chain.recommend(video_id=asked, top_k=20, release=version)
    assert [video["video_id"] for video in found] == ranked(live.vector(live.place(asked)), without=asked)
    embed = {"texts": ["a blizzard of snow"], "release": version}
    embedded = httpx.post(f"{chain.url}/v1/embed", json=embed, timeout=60).raise_for_status().json()
    assert embedded["release"] == version
    by_text = chain.recommend(embedding=embedded["embeddings"][0], top_k=20, release=version)
    assert [video["video_id"] for video in by_text] == ranked(np.asarray(embedded["embeddings"][0], np.float32))
    return found


def test_a_second_extraction_changes_nothing(chain: Chain) -> None:
    again = chain.job("jobs/extract.py", "--catalog", str(chain.catalog))
    assert again.returncode == 0, again.stdout + again.stderr
    row = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in again.stdout.splitlines() if "│" in line}
    assert (row["rows in"], row["extracted"], row["unchanged"]) == ("38", "0", "38")
