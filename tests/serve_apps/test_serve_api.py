"""The routes of the API in one process, with a real release and a real index, without encoders."""

import asyncio
import base64
import hmac
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import expect
from pydantic import SecretStr

from api_alone import NoEncoders, announce, served
from chromium import chromium, needs_browser, opened
from live_case import pinned
from rayreel.access.keyfile import KeyFile
from rayreel.access.keys import Scope, new_key
from rayreel.client.messages import Passage, Recommendations, VideoPage
from rayreel.events.database import Database
from rayreel.events.write import add_end
from rayreel.experiments.plan import FILE as EXPERIMENTS
from rayreel.index.embedded import stop_embedded
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import by_vector
from rayreel.recommendation.scenarios import FILE
from rayreel.release.rows import ReleaseRows, tombstones
from rayreel.settings import Settings
from release_rows import DIM, release_row, release_table, unit
from released import make_release, settings_in, switch_to
from serve_apps.api import make_api
from serve_apps.routes.recommend import named, rendered
from serve_apps.scenarios import WatchedScenarios
from serve_apps.service import Service

IDS = [f"{category}{n}" for category in "ab" for n in range(10)] + ["c/1 ü"]
PROBLEM = "application/problem+json"
FilmMaker = Callable[..., Path]


class Reranking(NoEncoders):
    """Calls of an encode deployment whose cross-encoder prefers texts that are late in the alphabet."""

    async def __call__(self, method: str, *args: Any) -> Any:  # noqa: ANN401 - as the method
        if method == "texts":
            return unit("a0 1")[None]
        if method == "known":
            return [word == "filmk" for word in args[0]]
        if method != "rerank":
            return await super().__call__(method, *args)
        assert args[0] == "late"
        ranks = {text: rank for rank, text in enumerate(sorted(args[1]))}
        return np.asarray([ranks[text] for text in args[1]], np.float32)


@pytest.fixture(scope="module")
def settings(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MILVUS_URI", raising=False)
        made = settings_in(tmp_path_factory.mktemp("api"), "serve.refresh_s=3600", "serve.require_keys=false")
        made = made.model_copy(update={"release": made.release.model_copy(update={"webhook_secret": SecretStr("s")})})
        make_release(made, 1, IDS)
        switch_to(made, 1)
        yield made
        assert made.milvus_dir is not None
        stop_embedded(made.milvus_dir)


@pytest.fixture(scope="module")
def service(settings: Settings) -> Service:
    return Service(settings, NoEncoders(), announce, [])


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(make_api(service, 256), raise_server_exceptions=False) as running:
        yield running


def exact(video_id: str, among: list[str], top_k: int) -> list[str]:
    """Return the nearest ids by brute force."""
    query = unit(f"{video_id} 1")
    others = [other for other in among if other != video_id]
    return sorted(others, key=lambda other: -float(unit(f"{other} 1") @ query))[:top_k]


def found(client: TestClient, **query: object) -> list[str]:
    answer = client.post("/v1/recommend", json=query)
    assert answer.status_code == 200, answer.text
    recommended = Recommendations.model_validate(answer.json())
    assert recommended.release == 1
    return [result.video_id for result in recommended.results]


def test_a_query_by_id_is_exact_and_repeatable(client: TestClient) -> None:
    expected = exact("a0", IDS, 5)
    assert found(client, video_id="a0", top_k=5) == expected == found(client, video_id="a0", top_k=5)


@pytest.mark.parametrize("extra", [{}, {"exclude": ["a1", "b2"]}, {"filter": {"category": "b"}}])
def test_a_query_by_embedding_equals_brute_force(client: TestClient, extra: dict[str, Any]) -> None:
    among = [i for i in IDS if i not in extra.get("exclude", ()) and (i[0] == "b" or "filter" not in extra)]
    query = (3 * unit("a0 1")).tolist()
    assert found(client, embedding=query, top_k=4, **extra) == (["a0"] * ("a0" in among) + exact("a0", among, 4))[:4]


def test_a_write_invalidates_cached_responses(client: TestClient, service: Service, settings: Settings) -> None:
    before = found(client, video_id="b0", top_k=3)
    ReleaseRows(settings.place, 1).add(tombstones([before[0]]))
    asyncio.run(service.state.refresh())
    after = found(client, video_id="b0", top_k=3)
    assert before[0] not in after and after[:2] == before[1:]
    assert client.get(f"/v1/videos/{before[0]}").status_code == 404


def test_without_encoders_queries_by_id_work_and_text_gets_503(client: TestClient) -> None:
    assert found(client, video_id="a0", top_k=1)
    ready, words = client.get("/readyz"), client.post("/v1/recommend", json={"text": "waves"})
    for answer in (ready, words):
        assert answer.status_code == 503 and answer.headers["content-type"] == PROBLEM
        assert answer.headers["Retry-After"] == "1"
    assert client.get("/healthz").status_code == 200


def test_the_webhook_accepts_only_new_signed_deliveries(client: TestClient) -> None:
    body, when = b'{"entity": "model_version_alias", "data": {"name": "x", "alias": "y"}}', str(int(time.time()))
    signed = base64.b64encode(hmac.new(b"s", f"one.{when}.".encode() + body, "sha256").digest()).decode()
    headers = {"X-MLflow-Delivery-Id": "one", "X-MLflow-Timestamp": when, "X-MLflow-Signature": f"v1,{signed}"}
    assert client.post("/v1/mlflow/webhook", content=body, headers=headers).status_code == 204
    for refused in (
        headers,
        headers | {"X-MLflow-Signature": "v1,AAAA"},
        {},
    ):  # repeated, wrong signature, no signature
        answer = client.post("/v1/mlflow/webhook", content=body, headers=refused)
        assert answer.status_code == 401 and answer.headers["content-type"] == PROBLEM


def test_pages_list_every_video_once_and_in_order(client: TestClient, service: Service) -> None:
    seen, cursor = list[str](), None
    while True:
        answer = client.get("/v1/videos", params={"limit": 4, **({"cursor": cursor} if cursor else {})})
        page = VideoPage.model_validate(answer.json())
        assert len(page.videos) <= 4
        seen += [video.video_id for video in page.videos]
        cursor = page.next_cursor
        if cursor is None:
            break
    live = service.state.current.live
    assert seen == sorted(set(seen)) and len(seen) == len(live) and all(video_id in live for video_id in seen)


def test_an_id_may_contain_any_characters_and_no_response_has_a_local_path(client: TestClient) -> None:
    answer = client.get("/v1/videos/c%2F1%20%C3%BC")
    assert answer.status_code == 200 and answer.json()["video_id"] == "c/1 ü"
    assert answer.json()["uri"] is None


@pytest.mark.parametrize(
    ("method", "path", "request_", "status"),
    [
        ("POST", "/v1/recommend", {"json": {"video_id": "unknown"}}, 404),
        ("POST", "/v1/recommend", {"json": {"video_id": "a0", "filter": {"colour": "red"}}}, 422),
        ("POST", "/v1/recommend", {"json": {"embedding": [1.0] * (DIM + 1)}}, 422),
        ("POST", "/v1/recommend", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 422),
        ("POST", "/v1/videos", {"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415),
        ("POST", "/v1/videos", {"files": {"other": b"x"}}, 422),
        ("POST", "/v1/videos", {"json": {"title": "no address"}}, 422),
        ("POST", "/v1/videos/batch", {"json": {"catalog": "/etc"}}, 422),
        ("GET", "/v1/videos?cursor=%21", {}, 422),
        ("GET", "/v1/videos?limit=0", {}, 422),
        ("DELETE", "/v1/videos", {}, 422),
        ("DELETE", "/v1/videos?confirm=yes", {}, 422),
        ("DELETE", "/v1/videos/unknown", {}, 404),
        ("GET", "/v1/jobs/unknown", {}, 404),
    ],
)
def test_invalid_requests_get_problem_details(
    client: TestClient, method: str, path: str, request_: dict[str, Any], status: int
) -> None:
    answer = client.request(method, path, **request_)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["status"] == status and answer.json()["instance"] == answer.headers["X-Request-Id"]


def test_openapi_describes_every_endpoint_and_its_body(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert {
        "/healthz",
        "/readyz",
        "/v1/recommend",
        "/v1/recommend/upload",
        "/v1/embed",
        "/v1/videos",
        "/v1/videos/batch",
        "/v1/videos/{video_id}",
        "/v1/jobs/{job_id}",
        "/v1/release",
        "/v1/releases",
    } <= set(described["paths"])
    assert described["components"]["schemas"]["RecommendRequest"]["examples"]
    assert set(described["paths"]["/v1/videos"]["post"]["requestBody"]["content"]) == {
        "application/json",
        "multipart/form-data",
    }


@pytest.fixture
def filmed(settings: Settings, service: Service, client: TestClient, film: FilmMaker) -> Iterator[Path]:
    """A film that is indexed as `f/1`, with pictures."""
    path = film("f.mp4", frames=30)
    clip = decode_file(path, SamplingConfig(), 64, Limits())
    assert isinstance(clip, Clip)
    service.pictures.keep([clip])
    rows = ReleaseRows(settings.place, 1)
    row = release_row("f/1", uri=str(path), content_hash=clip.content_hash, category="film", extra={"mood": "calm"})
    rows.add(release_table(row))
    asyncio.run(service.state.refresh())
    yield path
    rows.add(tombstones(["f/1"]))
    asyncio.run(service.state.refresh())


@pytest.fixture
def said(settings: Settings, service: Service) -> Iterator[None]:
    """A video `s/1` in which something is said, and a silent one, `s/2`."""
    rows = ReleaseRows(settings.place, 1)
    segments = [{"start_s": 0.5, "end_s": 2.0, "text": "Hello"}, {"start_s": 61.0, "end_s": 62.0, "text": "the <end>"}]
    rows.add(release_table(release_row("s/1", segments=segments, spoken_language="en"), release_row("s/2")))
    asyncio.run(service.state.refresh())
    yield
    rows.add(tombstones(["s/1", "s/2"]))
    asyncio.run(service.state.refresh())


@pytest.mark.usefixtures("said")
def test_a_transcript_is_json_or_subtitles_as_the_client_asks(client: TestClient) -> None:
    address = "/v1/videos/s%2F1/transcript"
    found = client.get(address).json()
    assert (found["video_id"], found["language"], found["text"]) == ("s/1", "en", "Hello the <end>")
    assert found["segments"][1] == {"start_s": 61.0, "end_s": 62.0, "text": "the <end>"}
    vtt, srt = (client.get(address, params={"format": form}) for form in ("vtt", "srt"))
    assert vtt.headers["content-type"].startswith("text/vtt") and "00:01:01.000 --> 00:01:02.000" in vtt.text
    assert srt.headers["content-type"].startswith("application/x-subrip") and srt.text.startswith("1\n00:00:00,500")
    accepts = {"text/vtt": vtt.text, "text/html, application/x-subrip;q=0.9, */*": srt.text}
    assert {kind: client.get(address, headers={"Accept": kind}).text for kind in accepts} == accepts
    assert client.get(address, params={"format": "json"}, headers={"Accept": "text/vtt"}).json() == found


@pytest.mark.usefixtures("said")
def test_a_video_without_a_transcript_has_none(client: TestClient) -> None:
    for address in ("s%2F2/transcript", "unknown/transcript"):
        answer = client.get(f"/v1/videos/{address}")
        assert answer.status_code == 404 and answer.headers["content-type"] == PROBLEM
    assert client.get("/v1/videos/s%2F1/transcript?format=pdf").status_code == 422


@pytest.mark.usefixtures("said")
def test_an_explained_result_has_its_passage_in_the_json(service: Service) -> None:
    options = Options(1, hybrid=True, explain=True)
    found = by_vector(pinned(service.state.current.live), unit("s/1 1"), options, "the end")
    shown = Recommendations.model_validate_json(named(rendered(found))).results[0].explanation
    assert shown is not None and shown.passage == Passage(start_s=61, end_s=62, text="the <end>")


def test_a_query_by_text_is_reranked_and_the_answer_has_the_time_it_took(settings: Settings) -> None:
    recommend = settings.recommend.model_copy(update={"reranker": "any", "reranked": 8})
    service = Service(settings.model_copy(update={"recommend": recommend}), Reranking(), announce, [])
    with TestClient(make_api(service, 256)) as reranking:
        query = {"text": "late", "top_k": 3}
        plain = reranking.post("/v1/recommend", json={**query, "top_k": 8}).json()
        found = reranking.post("/v1/recommend", json={**query, "rerank": True}).json()
    titles = sorted((result["title"] for result in plain["results"]), reverse=True)
    assert [result["title"] for result in found["results"]] == titles[:3]
    assert [result["reranked"] for result in found["results"]] == [7, 6, 5] and found["reranking_ms"] > 0
    assert "reranking_ms" not in plain and "reranked" not in plain["results"][0]


def test_a_typing_error_is_corrected_a_phrase_is_required_and_the_answer_says_what_was_searched(
    settings: Settings,
) -> None:
    with TestClient(make_api(Service(settings, Reranking(), announce, []), 256)) as client:
        right, wrong, phrase, known = (
            client.post("/v1/recommend", json={"text": text, "hybrid": True}).json()
            for text in ("film b5", "filmm b5", '"film b5"', "filmk b5")
        )
    assert wrong["searched"] == "film b5" and "searched" not in right and "searched" not in known
    assert wrong["results"] == right["results"] and len(right["results"]) == 10
    assert [result["title"] for result in phrase["results"]] == ["film b5"]


def test_without_a_reranker_a_query_cannot_be_reranked(client: TestClient) -> None:
    answer = client.post("/v1/recommend", json={"text": "late", "rerank": True})
    assert answer.status_code == 422 and "recommend.reranker" in answer.json()["detail"]


def test_a_video_links_to_its_pictures_and_its_original(client: TestClient, filmed: Path) -> None:
    shown = client.get("/v1/videos/f%2F1").json()
    for name in ("poster_url", "sheet_url"):
        answer = client.get(shown[name])
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
        assert "immutable" in answer.headers["cache-control"]
        again = client.get(shown[name], headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304 and not again.content
    media = client.get(shown["media_url"])
    assert media.content == filmed.read_bytes() and media.headers["content-type"] == "video/mp4"
    part = client.get(shown["media_url"], headers={"Range": "bytes=10-19", "If-Range": media.headers["etag"]})
    assert part.status_code == 206 and part.content == filmed.read_bytes()[10:20]
    assert client.get(shown["media_url"], headers={"Range": "bytes=99999999-"}).status_code == 416
    assert client.get(shown["media_url"], headers={"If-None-Match": media.headers["etag"]}).status_code == 304
    found = client.post("/v1/recommend", json={"embedding": unit("f/1 1").tolist(), "top_k": 1}).json()["results"][0]
    assert found["video_id"] == "f/1" and found["poster_url"] == shown["poster_url"]


def test_only_the_indexed_content_is_sent(client: TestClient, filmed: Path) -> None:
    filmed.write_bytes(b"something else")
    assert client.get("/v1/videos/f%2F1/media").status_code == 404
    filmed.unlink()
    filmed.symlink_to("/etc/passwd")
    answer = client.get("/v1/videos/f%2F1/media")
    assert answer.status_code == 404 and answer.headers["content-type"] == PROBLEM
    for path in ("a0/poster", "a0/media", "unknown/poster", "..%2F..%2Fetc%2Fpasswd/media"):
        assert client.get(f"/v1/videos/{path}").status_code == 404


def test_facets_count_what_videos_can_be_filtered_by(client: TestClient, filmed: Path) -> None:
    facets = client.get("/v1/facets").json()
    listed = client.get("/v1/videos", params={"filter": '{"category": "b"}', "limit": 1000}).json()["videos"]
    counts = {entry["value"]: entry["videos"] for entry in facets["categories"]}
    assert counts["b"] == len(listed) and {video["category"] for video in listed} == {"b"}
    assert counts["film"] == 1 and sum(counts.values()) == facets["videos"]
    assert facets["duration_s"] == {"smallest": 2.5, "largest": 2.5}
    assert client.get("/v1/videos", params={"filter": "{"}).status_code == 422


def test_the_page_and_its_files_load_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"] and "http" not in page.text
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["content-security-policy"] == page.headers["content-security-policy"]
    for path in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        answer = client.get(path)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    assert client.get("/assets/..%2Findex.html").status_code == client.get("/assets/none.js").status_code == 404


def sent(client: TestClient, *events: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/v1/events", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_every_answer_has_an_id_of_its_own(client: TestClient) -> None:
    ids = {client.post("/v1/recommend", json={"video_id": "a0"}).json()["recommendation_id"] for _ in range(3)}
    assert len(ids) == 3


def test_events_are_kept_shown_and_deleted(client: TestClient) -> None:
    first = {"event_id": "e1", "user_id": "ann/é", "session_id": "s", "video_id": "a0", "type": "view", "value": 2.5}
    second = {"session_id": "s", "video_id": "a1", "type": "like", "at": 1790000000000, "recommendation_id": "r"}
    assert sent(client, first, second) == {"stored": 2, "duplicates": 0, "refused": []}
    assert sent(client, first, second) == {"stored": 0, "duplicates": 2, "refused": []}
    kept = client.get("/v1/users/ann%2F%C3%A9").json()
    assert kept["sessions"] == ["s"] and [event["video_id"] for event in kept["events"]] == ["a0", "a1"]
    assert kept["events"][0]["value"] == 2.5 and kept["events"][1]["at"] == 1790000000.0
    receipt = client.delete("/v1/users/ann%2F%C3%A9").json()
    assert (receipt["events"], receipt["sessions"]) == (2, 1)
    assert client.get("/v1/users/ann%2F%C3%A9").status_code == 404
    assert "deleted" in sent(client, second, {**second, "session_id": "t"})["refused"][0]["error"]


def test_each_invalid_event_has_its_own_error_and_the_others_are_stored(client: TestClient) -> None:
    good = {"user_id": "bob", "video_id": "a0", "type": "view"}
    wrong: dict[str, dict[str, Any]] = {
        "unknown": good | {"video_id": "none", "event_id": "x"},
        "of nobody": {"video_id": "a0", "type": "view"},
        "type": good | {"type": "watch"},
        "rating": good | {"type": "rating", "value": 7},
        "future": good | {"at": 4e9},
    }
    found = sent(client, *wrong.values(), good)
    assert found["stored"] == 1 and [refused["index"] for refused in found["refused"]] == list(range(5))
    assert found["refused"][0] == {"index": 0, "event_id": "x", "error": "video_id: 'none' is not in release 1."}
    words = ["user_id or session_id", "type: ", "0 to 5", "future"]
    assert not [word for word, refused in zip(words, found["refused"][1:], strict=True) if word not in refused["error"]]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"events": []}',
        b'{"events": [1]}',
        b'{"user_id": "a", "video_id": "none", "type": "view"}',
        b'{"user_id": "a\\u0000", "video_id": "a0", "type": "view"}',
        b'{"events": [{"user_id": "a", "video_id": "none", "type": "view"}]}',
    ],
)
def test_a_request_without_a_valid_event_gets_problem_details(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and answer.headers["content-type"] == PROBLEM, answer.text


def asked(client: TestClient, **query: object) -> tuple[list[str], str]:
    answer = client.post("/v1/recommend", json=query)
    assert answer.status_code == 200, answer.text
    return [result["video_id"] for result in answer.json()["results"]], answer.json()["recommendation_id"]


def test_the_next_answer_for_a_user_knows_what_they_have_just_done(client: TestClient) -> None:
    before, _ = asked(client, user={"user_id": "cara"}, top_k=30)
    sent(client, {"user_id": "cara", "video_id": before[0], "type": "view"})
    sent(client, {"user_id": "cara", "video_id": before[1], "type": "dislike"})
    answer = client.post("/v1/recommend", json={"user": {"user_id": "cara"}, "top_k": 30, "explain": True}).json()
    assert set(before[2:]) == {result["video_id"] for result in answer["results"]}
    assert {result["explanation"]["because"]["video_id"] for result in answer["results"]} == {before[0]}


def test_pages_for_a_user_repeat_nothing_and_are_kept(client: TestClient) -> None:
    everything, _ = asked(client, user={"user_id": "dan"}, top_k=30)
    pages, (page, answer_id) = list[str](), asked(client, user={"user_id": "dan"}, top_k=6)
    while page:
        pages += page
        page, answer_id = asked(client, recommendation_id=answer_id, top_k=6)
    assert pages == everything and len(set(pages)) == len(pages)
    kept = client.get("/v1/users/dan").json()["recommendations"]
    assert [video for answer in kept[1:] for video in answer["video_ids"]] == pages
    client.delete("/v1/users/dan")
    assert client.post("/v1/recommend", json={"recommendation_id": answer_id}).status_code == 404


def test_a_session_becomes_the_users_at_their_first_request_with_both(client: TestClient) -> None:
    seen, _ = asked(client, user={"session_id": "visit"}, top_k=2)
    sent(client, {"session_id": "visit", "video_id": seen[0], "type": "like"})
    assert seen[0] not in asked(client, user={"session_id": "visit", "user_id": "eve"}, top_k=30)[0]
    assert seen[0] not in asked(client, user={"user_id": "eve"}, top_k=30)[0]


def test_a_page_of_an_answer_takes_no_other_options(client: TestClient) -> None:
    _, answer_id = asked(client, user={"user_id": "fay"}, top_k=2)
    answer = client.post("/v1/recommend", json={"recommendation_id": answer_id, "diversity": 0.5})
    assert answer.status_code == 422 and "first page" in answer.json()["detail"]


def test_scenarios_are_reloaded_without_a_restart(client: TestClient, service: Service, settings: Settings) -> None:
    service.scenarios = WatchedScenarios(settings.place, refresh_s=0)
    assert client.post("/v1/recommend", json={"video_id": "a0", "scenario": "home"}).status_code == 422
    path = settings.place.path(FILE)
    for pin in ("b1", "b2"):
        settings.place.write(path, f"home: {{pins: [{pin}]}}".encode())
        assert found(client, video_id="a0", scenario="home", top_k=2)[0] == pin
    settings.place.write(path, b"home: {pins: 5}")  # invalid: the last valid one stays
    assert found(client, video_id="a0", scenario="home", top_k=2)[0] == "b2"
    assert asked(client, user={"user_id": "gus"}, scenario="home", top_k=2)[0][0] == "b2"
    sent(client, {"user_id": "gus", "video_id": "b2", "type": "hide"})
    assert "b2" not in asked(client, user={"user_id": "gus"}, scenario="home", top_k=30)[0]


def test_an_experiment_answers_users_by_arm_until_the_arm_ends(
    client: TestClient, service: Service, settings: Settings
) -> None:
    service.scenarios = WatchedScenarios(settings.place, refresh_s=0)
    settings.place.write(settings.place.path(FILE), b"home: {pins: [a1]}\nnarrow: {pins: [a1], caps: {category: 1}}")
    arms = "{old: {share: .5}, new: {share: .5, scenario: %s}}"
    plan = f"x: {{scenario: home, arms: {arms}}}"
    settings.place.write(settings.place.path(EXPERIMENTS), (plan % "gone").encode())  # invalid: there is none yet
    assert "arm" not in client.post("/v1/recommend", json={"user": {"user_id": "x0"}, "scenario": "home"}).json()
    settings.place.write(settings.place.path(EXPERIMENTS), (plan % "narrow").encode())

    def answer(user: str) -> dict[str, Any]:
        response = client.post("/v1/recommend", json={"user": {"user_id": user}, "scenario": "home", "top_k": 8})
        return dict(response.json())

    answers = {user: answer(user) for user in (f"x{n}" for n in range(24))}
    assert {found["experiment"] for found in answers.values()} == {"x"}
    assert {(found["arm"], len(found["results"])) for found in answers.values()} == {("old", 8), ("new", 4)}
    user = next(user for user, found in answers.items() if found["arm"] == "new")
    page = client.post("/v1/recommend", json={"recommendation_id": answers[user]["recommendation_id"]}).json()
    assert page["arm"] == "new" and client.get(f"/v1/users/{user}").json()["recommendations"][0]["arm"] == "new"
    rows = {row["arm"]: row for row in client.get("/v1/experiments/x").json()["arms"]}
    assert rows["old"]["waiting"] + rows["new"]["waiting"] == 24 and rows["new"]["drift"] > 0.01
    other = Database(settings.events, settings.place)  # of another replica, which ends the arm
    with other.writing() as connection:
        add_end(connection, "x", "new", "replica", "too narrow")
    other.close()
    assert client.get("/v1/experiments/x").json()["arms"][1]["ended"] == "too narrow"
    assert answer(user)["arm"] == "old" and len(answer(user)["results"]) == 8
    assert client.get("/v1/experiments/y").status_code == 404


@needs_browser
def test_the_page_shows_videos_after_signing_in_with_a_valid_key(settings: Settings) -> None:
    text, key = new_key("a visitor", Scope.READ, None)
    KeyFile(settings.place, None).add(key)
    with chromium() as browser, served(settings, keys=True) as url, opened(browser, url, statuses=(401, 404)) as page:
        page.goto("/")
        for typed in ("rr_wrong", text):
            page.get_by_label("API key").fill(typed)
            page.get_by_role("dialog").get_by_role("button", name="Sign in").click()
            shown = page.get_by_text("This needs a valid API key") if typed != text else page.locator(".card")
            expect(shown.first).to_be_visible()
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.get_by_role("button", name="Sign out").click()
        page.reload()
        expect(page.get_by_label("API key")).to_be_visible()
        expect(page.locator(".card")).to_have_count(0)


@needs_browser
def test_likes_and_skips_on_the_page_are_stored_and_change_the_next_list(
    settings: Settings, client: TestClient
) -> None:
    user = "page/ann ü"
    with chromium() as browser, served(settings) as url, opened(browser, url, statuses=(404,)) as page:
        page.goto("/?view=you")
        page.get_by_role("button", name="Like: film b5", exact=True).click()  # before they say who they are
        page.get_by_label("User id").fill(user)
        page.get_by_role("button", name="Continue as").click()
        expect(page.get_by_text(f"You are {user}.")).to_be_visible()
        nearest = [result["title"] for result in _watched(client, ["b5"])]
        expect(page.locator(".card .name")).to_have_text(nearest)
        page.get_by_role("button", name=f"Not for me: {nearest[0]}", exact=True).click()
        expect(page.locator(".card .name")).to_have_text(nearest[1:])
        page.reload()
        expect(page.locator(".card .name")).to_have_text(nearest[1:])
    with chromium() as browser, served(settings) as url, opened(browser, url, statuses=(404,)) as page:
        page.goto("/?view=you")  # in another tab, nothing is known until they say who they are
        expect(page.get_by_role("button", name="Like: film b5", exact=True)).to_be_visible()
        page.get_by_label("User id").fill(user)
        page.get_by_role("button", name="Continue as").click()
        expect(page.get_by_role("button", name="Remove like: film b5", exact=True)).to_be_visible()
        expect(page.locator(".card .name")).to_have_text(nearest[1:])
    kept = client.get("/v1/users/page%2Fann%20%C3%BC").json()
    done = {event["type"]: event for event in kept["events"] if event["type"] != "impression"}
    assert {kind: event["video_id"] for kind, event in done.items()} == {"like": "b5", "skip": nearest[0][5:]}
    shown = {answer["recommendation_id"]: answer["video_ids"] for answer in kept["recommendations"]}
    assert all(event["video_id"] in shown[event["recommendation_id"]] for event in kept["events"])
    assert "impression" in {event["type"] for event in kept["events"]}


def _watched(client: TestClient, history: list[str]) -> list[dict[str, Any]]:
    answer = client.post("/v1/recommend", json={"user": {"history": history}, "top_k": 48})
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


@needs_browser
def test_two_rankings_of_a_query_are_shown_side_by_side(settings: Settings, client: TestClient) -> None:
    with chromium() as browser, served(settings) as url, opened(browser, url, statuses=(404,)) as page:
        page.goto("/?like=a0")
        page.get_by_role("button", name="Filters").click()
        page.get_by_label("Compare with").select_option("By picture alone")
        for name, weights in (("Everything together", {}), ("By picture alone", {"weights": {"visual": 1}})):
            answer = client.post("/v1/recommend", json={"video_id": "a0", "top_k": 48, **weights}).json()
            shown = page.get_by_role("region", name=name).locator(".card .name")
            expect(shown).to_have_text([result["title"] for result in answer["results"]])
        assert page.url.endswith("/?like=a0&beside=visual")


@needs_browser
def test_the_page_says_what_was_searched_instead(settings: Settings) -> None:
    with chromium() as browser, served(settings, encoders=Reranking()) as url, opened(browser, url) as page:
        page.goto("/?q=filmm+b5")
        expect(page.get_by_text("Showing results for “film b5”.")).to_be_visible()
        expect(page.locator(".card .name").first).to_be_visible()
        page.get_by_role("searchbox").fill("film b5")
        expect(page.get_by_text("Showing results for")).to_have_count(0)
