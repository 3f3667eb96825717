"""Requests that name another release than the serving one, with real releases and a real index."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import mlflow
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi.testclient import TestClient
from playwright.sync_api import expect

from api_alone import NoEncoders, announce, served
from chromium import chromium, needs_browser, opened
from rayreel.experiments.plan import FILE as EXPERIMENTS
from rayreel.index.alias import drop_collection
from rayreel.index.collection import collection_name
from rayreel.index.embedded import stop_embedded
from rayreel.recommendation.scenarios import FILE
from rayreel.release.rows import ReleaseRows, tombstones
from rayreel.settings import Settings
from rayreel.training.tracking import use_tracking
from release_rows import release_row, release_table, unit
from released import client_of, make_release, settings_in, switch_to
from serve_apps import beside as beside_module
from serve_apps.api import make_api
from serve_apps.scenarios import WatchedScenarios
from serve_apps.service import Service
from tracking_database import with_database

IDS = [f"{category}{n}" for category in "ab" for n in range(10)]
# Release 3 lacks b9.
HAS = {1: IDS, 2: IDS, 3: IDS[:-1], 4: IDS}


class OfEachRelease(NoEncoders):
    """Calls of an encode deployment that embeds a text as each release has the video of that name."""

    async def __call__(self, method: str, *args: Any) -> Any:  # noqa: ANN401 - as the method
        if method == "texts":
            return np.stack([unit(f"{text} {args[1]}") for text in args[0]])
        return await super().__call__(method, *args)


@pytest.fixture(scope="module")
def kept(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Releases 1, 2 and 3, whose towers differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MILVUS_URI", raising=False)
        folder = tmp_path_factory.mktemp("beside")
        use_tracking(with_database(folder / "storage"))
        # Words and neighbours alone would not show the tower: `text_neighbours` moves a query.
        made = settings_in(folder, "serve.require_keys=false", "serve.refresh_s=3600", "recommend.text_neighbours=0")
        for version in (1, 2, 3):
            make_release(made, version, HAS[version], tower=str(version))
        yield made
        assert made.milvus_dir is not None
        stop_embedded(made.milvus_dir)
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


@pytest.fixture
def settings(kept: Settings) -> Settings:
    """The same, with release 1 serving."""
    switch_to(kept, 1)
    return kept


@pytest.fixture
def service(settings: Settings) -> Service:
    return Service(settings, OfEachRelease(), announce, [])


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(make_api(service, 256), raise_server_exceptions=False) as running:
        yield running


def refresh(service: Service) -> None:
    asyncio.run(service.state.refresh())


def answer(client: TestClient, **query: object) -> tuple[int, list[str]]:
    """Return the release and the ids of an answer."""
    found = client.post("/v1/recommend", json=query)
    assert found.status_code == 200, found.text
    return found.json()["release"], [result["video_id"] for result in found.json()["results"]]


def problem(client: TestClient, **query: object) -> tuple[int, str]:
    """Return status and detail of a refusal."""
    found = client.post("/v1/recommend", json=query)
    return found.status_code, found.json().get("detail", "")


def nearest(tower: int, to: str, without: str = "", count: int = 5) -> list[str]:
    """Return the ids nearest to the video `to` by a release's vectors, by brute force."""
    query = unit(f"{to} {tower}")
    ids = [video_id for video_id in HAS[tower] if video_id != without]
    return sorted(ids, key=lambda video_id: -float(unit(f"{video_id} {tower}") @ query))[:count]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_each_release_answers_every_kind_of_query_with_its_own_vectors(client: TestClient, version: int) -> None:
    by_id, alike = nearest(version, "a0", "a0"), nearest(version, "a0")
    named = {"release": version, "top_k": 5}
    assert answer(client, video_id="a0", **named) == (version, by_id) == answer(client, video_id="a0", **named)
    assert answer(client, text="a0", **named) == (version, alike)
    assert answer(client, embedding=unit(f"a0 {version}").tolist(), **named) == (version, alike)
    assert answer(client, user={"history": ["a0"]}, **named) == (version, by_id)
    assert answer(client, user={"articles": ["a0"]}, **named) == (version, alike)
    embedded = client.post("/v1/embed", json={"texts": ["a0"], "release": version}).json()
    assert embedded["release"] == version
    np.testing.assert_allclose(embedded["embeddings"][0], unit(f"a0 {version}"), atol=1e-6)


def test_answers_of_a_named_release_are_never_those_of_the_serving_one(client: TestClient, service: Service) -> None:
    plain = json.dumps({"video_id": "b3", "top_k": 4}).encode()
    named = json.dumps({"video_id": "b3", "top_k": 4, "release": 2}).encode()

    def ask(body: bytes) -> list[str]:
        found = client.post("/v1/recommend", content=body, headers={"Content-Type": "application/json"}).json()
        return [result["video_id"] for result in found["results"]]

    first = ask(named), ask(plain)
    cached = len(service.state.answers)
    assert first == (nearest(2, "b3", "b3", 4), nearest(1, "b3", "b3", 4))
    assert (ask(named), ask(plain)) == first and len(service.state.answers) == cached == 1
    switch_to(service.settings, 2)
    refresh(service)
    assert (ask(named), ask(plain)) == (first[0], first[0])
    switch_to(service.settings, 1)
    refresh(service)
    assert (ask(named), ask(plain)) == first


def test_pages_for_a_user_stay_in_the_release_that_they_named(client: TestClient) -> None:
    client.post("/v1/events", json={"user_id": "ann", "video_id": "a0", "type": "view"})
    first = client.post("/v1/recommend", json={"user": {"user_id": "ann"}, "release": 2, "top_k": 4}).json()
    second = client.post("/v1/recommend", json={"recommendation_id": first["recommendation_id"], "top_k": 4}).json()
    assert first["release"] == second["release"] == 2
    shown = [result["video_id"] for page in (first, second) for result in page["results"]]
    assert shown == nearest(2, "a0", "a0", 8)
    kept = client.get("/v1/users/ann").json()["recommendations"]
    assert {each["release"] for each in kept} == {2}


def test_a_release_that_is_not_kept_is_refused_with_those_that_are(client: TestClient, settings: Settings) -> None:
    status, detail = problem(client, video_id="a0", release=9)
    assert status == 422 and "Release 9 is not kept. Releases that can be asked: 1, 2, 3." in detail
    assert problem(client, video_id="a0", release=0)[0] == 422
    found = client.get("/v1/releases/kept").json()
    assert [(each["version"], each["serving"]) for each in found] == [(3, False), (2, False), (1, True)]
    off = settings.model_copy(update={"serve": settings.serve.model_copy(update={"beside_releases": 0})})
    with TestClient(make_api(Service(off, OfEachRelease(), announce, []), 256)) as alone:
        assert "serve.beside_releases is 0" in problem(alone, video_id="a0", release=2)[1]
        assert answer(alone, video_id="a0", release=1, top_k=2) == (1, nearest(1, "a0", "a0", 2))
        assert [each["version"] for each in alone.get("/v1/releases/kept").json()] == [1]


def test_no_more_releases_are_loaded_than_allowed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    one = settings.model_copy(update={"serve": settings.serve.model_copy(update={"beside_releases": 1})})
    with TestClient(make_api(Service(one, OfEachRelease(), announce, []), 256)) as client:
        assert answer(client, video_id="a0", release=2)[0] == 2
        status, detail = problem(client, video_id="a0", release=3)
        assert status == 429 and "Releases 2 are in use" in detail
        assert answer(client, video_id="a0", release=2)[0] == 2, "the one in use stays"
        monkeypatch.setattr(beside_module, "HELD_S", 0.0)
        assert [answer(client, video_id="a0", release=version)[0] for version in (3, 2, 3, 1)] == [3, 2, 3, 1]


def test_changes_reach_a_named_release_and_what_the_serving_one_lost_is_not_returned(
    client: TestClient, service: Service, settings: Settings
) -> None:
    first, second, third = nearest(2, "b0", "b0", 3)
    assert answer(client, video_id="b0", release=2, top_k=2) == (2, [first, second])
    serving, other = ReleaseRows(settings.place, 1), ReleaseRows(settings.place, 2)
    serving.add(tombstones([first]))
    refresh(service)
    assert answer(client, video_id="b0", release=2, top_k=2) == (2, [second, third])
    assert problem(client, video_id=first, release=2)[0] == 404
    other.add(release_table(release_row("new", "2", embedding=unit("b0 2"), category="b")))
    refresh(service)
    assert answer(client, video_id="b0", release=2, top_k=1) == (2, [second]), "the serving release does not have it"
    serving.add(release_table(release_row("new", category="b"), release_row(first, category=first[0])))
    refresh(service)
    assert answer(client, video_id="b0", release=2, top_k=2) == (2, ["new", first])
    for rows in (serving, other):
        rows.add(tombstones(["new"]))


def test_promotions_and_dropped_releases_are_followed_while_others_are_loaded(
    client: TestClient, service: Service, settings: Settings
) -> None:
    make_release(settings, 4, IDS, tower="4")
    refresh(service)
    assert [answer(client, video_id="a1", release=version)[0] for version in (2, 4)] == [2, 4]
    switch_to(settings, 4)
    refresh(service)
    assert answer(client, video_id="a1", top_k=5) == (4, nearest(4, "a1", "a1"))
    assert answer(client, video_id="a1", release=1, top_k=5) == (1, nearest(1, "a1", "a1"))
    switch_to(settings, 1)
    refresh(service)
    assert answer(client, video_id="a1", release=4, top_k=5) == (4, nearest(4, "a1", "a1"))
    drop_collection(client_of(settings), collection_name(4))
    ReleaseRows(settings.place, 4).drop()
    assert answer(client, video_id="a1", release=4)[0] == 4, "requests in flight still have it"
    refresh(service)
    assert "Releases that can be asked: 1, 2, 3." in problem(client, video_id="a1", release=4)[1]


def test_a_collection_that_was_dropped_during_a_search_is_no_outage(settings: Settings) -> None:
    make_release(settings, 4, IDS, tower="4")
    large = settings.model_copy(update={"recommend": settings.recommend.model_copy(update={"exact_cells": 0})})
    service = Service(large, OfEachRelease(), announce, [])
    with TestClient(make_api(service, 256)) as client:
        assert answer(client, text="a0", release=4, top_k=5) == (4, nearest(4, "a0"))
        drop_collection(client_of(settings), collection_name(4))
        status, detail = problem(client, text="a0", release=4)
        assert status == 503 and "The release was dropped" in detail
        assert service.state.index_is_up and answer(client, text="a0", top_k=5) == (1, nearest(1, "a0"))
    ReleaseRows(settings.place, 4).drop()


def test_an_arm_answers_from_its_release_and_as_the_control_once_that_is_gone(
    client: TestClient, service: Service, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    make_release(settings, 4, IDS, tower="4")
    refresh(service)
    service.scenarios = WatchedScenarios(settings.place, refresh_s=0)
    settings.place.write(settings.place.path(FILE), b"home: {}")
    arms = "{old: {share: .5, release: 2}, new: {share: .5, release: 4}}"
    settings.place.write(settings.place.path(EXPERIMENTS), f"x: {{scenario: home, arms: {arms}}}".encode())

    def ask(user: str, **more: object) -> dict[str, Any]:
        query = {"user": {"user_id": user, "history": ["a2"]}, "scenario": "home", "top_k": 5, **more}
        response = client.post("/v1/recommend", json=query)
        assert response.status_code == 200, response.text
        return dict(response.json())

    answers = {user: ask(user) for user in (f"arm{n}" for n in range(16))}
    for found in answers.values():
        version = {"old": 2, "new": 4}[found["arm"]]
        assert found["release"] == version
        assert [result["video_id"] for result in found["results"]] == nearest(version, "a2", "a2")
    assert {found["arm"] for found in answers.values()} == {"old", "new"}
    user = next(user for user, found in answers.items() if found["arm"] == "new")
    assert "arm" not in ask(user, release=3), "who names a release takes no part"
    drop_collection(client_of(settings), collection_name(4))
    ReleaseRows(settings.place, 4).drop()
    refresh(service)
    with caplog.at_level(logging.WARNING, "serve_apps.known"):
        instead = [ask(user), ask(user)]
    assert {(each["arm"], each["release"]) for each in instead} == {("old", 2)}
    (said,) = (record.getMessage() for record in caplog.records if record.name == "serve_apps.known")
    assert "arm new cannot answer from release 4" in said
    old, new = client.get("/v1/experiments/x").json()["arms"]
    assert (old["release"], old["lacks_release"], new["release"], new["lacks_release"]) == (2, False, 4, True)
    for file in (FILE, EXPERIMENTS):
        settings.place.write(settings.place.path(file), b"{}")


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_the_page_compares_two_releases_and_marks_what_differs(settings: Settings, *, width: int, dark: bool) -> None:
    here, there = ([v for v in nearest(n, "a0", "a0", 20) if v[0] == "b"] for n in (1, 3))
    still = sum(one == other for one, other in zip(here[:9], there, strict=True))
    shared, moved = len(set(here[:9]) & set(there)), here.index(there[-1]) - 8
    with (
        chromium() as browser,
        served(settings, encoders=OfEachRelease()) as url,
        opened(browser, url, width, dark=dark, statuses=(404,)) as page,
    ):
        page.goto("/?like=a0&category=b")
        page.get_by_role("button", name="Filters").click()
        page.get_by_label("Compare with").select_option("Release 3")
        left, right = (
            page.get_by_role("region", name=name, exact=True).locator(".card")
            for name in ("Release 1 · serving", "Release 3")
        )
        for side, expected in ((left, here), (right, there)):
            expect(side.locator(".name")).to_have_text([f"film {video_id}" for video_id in expected])
        assert page.url.endswith("/?like=a0&category=b&beside=release-3")
        expect(left.filter(has_text="only here").locator(".name")).to_have_text(["film b9"])
        expect(right.filter(has_text="only here")).to_have_count(0)
        said = f"Of the first 9, both sides have {shared}, {still} of them in the same place."
        expect(page.get_by_text(said)).to_be_visible()
        places = f"{abs(moved)} {'place' if abs(moved) == 1 else 'places'} {'higher' if moved > 0 else 'lower'}"
        assert moved, "the last one there is elsewhere here"
        expect(right.last.locator(".moved")).to_have_attribute("title", f"{places} than on the other side")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(page)
        assert not found.response["violations"], found.generate_report()
        page.reload()
        expect(right).to_have_count(9)
        page.get_by_role("searchbox").fill("b5")
        for side in (left, right):
            expect(side.first.locator(".name")).to_have_text("film b5")
