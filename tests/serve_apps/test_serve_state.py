"""A replica's state of the serving release, with a real Milvus Lite and real files."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from rayreel.index.embedded import NAMESPACE, owner_name, stop_embedded
from rayreel.release.following import FollowStatus, State, write_following
from rayreel.release.rows import tombstones
from rayreel.release.snapshot import write_snapshot
from rayreel.settings import Settings
from release_rows import release_row, release_table
from released import make_release, settings_in, switch_to
from serve_apps import state as state_module
from serve_apps.observe import Metrics
from serve_apps.problems import Unavailable
from serve_apps.state import ReleaseState

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.delenv("MILVUS_URI", raising=False)
    made = settings_in(tmp_path)
    yield made
    assert made.milvus_dir is not None
    stop_embedded(made.milvus_dir)


class Prepared:
    """Records the releases that the state prepares."""

    def __init__(self) -> None:
        self.versions: list[int] = []

    async def __call__(self, version: int) -> None:
        self.versions.append(version)


def state_of(settings: Settings) -> tuple[ReleaseState, Prepared]:
    prepared = Prepared()
    return ReleaseState(settings, Metrics(), prepared), prepared


def test_the_state_reports_a_missing_release_and_serves_it_after_promotion(settings: Settings) -> None:
    state, prepared = state_of(settings)

    async def scenario() -> None:
        with pytest.raises(Unavailable, match="no release has been promoted"):
            await state.refresh()
        make_release(settings, 1, ["a1", "a2", "b1"])
        switch_to(settings, 1)
        serving = await state.refresh()
        assert (serving.version, serving.collection, len(serving.live)) == (1, "videos_v1", 3)

    asyncio.run(scenario())
    assert prepared.versions == [1]


def test_a_refresh_applies_writes_and_invalidates_cached_responses(settings: Settings) -> None:
    rows = make_release(settings, 1, ["a1", "a2", "b1"])
    switch_to(settings, 1)
    state, prepared = state_of(settings)

    async def scenario() -> None:
        before = await state.refresh()
        state.answers.put(before.live.state, b"query", b"answer")
        await state.refresh()
        assert state.answers.get(state.current.live.state, b"query") == b"answer"
        rows.add(release_table(release_row("new")))
        rows.add(tombstones(["a1"]))
        after = await state.refresh()
        assert "new" in after.live and "a1" not in after.live
        assert "a1" in before.live, "a request uses the state that it started with"
        assert state.answers.get(after.live.state, b"query") is None

    asyncio.run(scenario())
    assert prepared.versions == [1]


def test_a_new_snapshot_replaces_the_old_one_and_its_overlay(settings: Settings) -> None:
    rows = make_release(settings, 1, ["a1", "a2"])
    switch_to(settings, 1)
    state, _ = state_of(settings)

    async def scenario() -> None:
        first = (await state.refresh()).live
        rows.add(release_table(release_row("new")))
        write_snapshot(settings.place, rows, neighbours=8)
        rows.add(tombstones(["a2"]))
        second = (await state.refresh()).live
        assert second.snapshot.name != first.snapshot.name
        assert sorted(row.video_id for row in second.page("", 10)) == ["a1", "new"]

    asyncio.run(scenario())


def test_the_loop_follows_a_switch_after_preparing_the_tower(settings: Settings) -> None:
    make_release(settings, 1, ["a1", "a2"])
    make_release(settings, 2, ["a1", "a2", "a3"])
    switch_to(settings, 1)
    state, prepared = state_of(settings)

    async def scenario() -> None:
        await state.refresh()
        looking = asyncio.create_task(state.keep_looking())
        await asyncio.to_thread(switch_to, settings, 2)
        async with asyncio.timeout(30):
            while state.current.version != 2:
                await asyncio.sleep(0.02)
        looking.cancel()
        assert len(state.current.live) == 3

    asyncio.run(scenario())
    assert prepared.versions == [1, 2]


def test_the_state_has_the_reconcilers_status_and_notices_when_it_stops(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = settings.release.model_copy(update={"follow": "gate", "follow_every_s": 1e-6})
    followed = settings.model_copy(update={"release": release})
    refused = FollowStatus(State.REFUSED, "gate", 1, 3, "Version 3 is refused by recall.", ("recall",))
    make_release(settings, 1, ["a1", "a2"])
    state, off = state_of(followed)[0], state_of(settings)[0]

    async def scenario() -> None:
        before = state.following
        assert before is None
        write_following(settings.place, refused)
        with pytest.raises(Unavailable, match=r"no release has been promoted.*Version 3 is refused by recall\."):
            await state.refresh()
        switch_to(settings, 1)
        assert (await state.refresh()).version == 1, "a refused champion does not affect serving"
        assert state.following is not None and state.following.looked_at
        assert replace(state.following, looked_at="") == refused
        monkeypatch.setattr(state_module, "SILENT_S", 0.0)
        assert state.following.state is State.STOPPED
        write_following(settings.place, refused)
        settings.place.write(settings.place.path("releases", "following.json"), b"")
        assert (await state.refresh()).version == 1, "an empty status file does not affect serving"
        assert off.following is not None and off.following.state is State.OFF

    asyncio.run(scenario())


def test_without_the_index_the_release_stays_and_searches_wait_until_it_returns(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "LOOK_S", 0.5)

    def waiting(seconds: float) -> Settings:
        return settings.model_copy(update={"serve": settings.serve.model_copy(update={"index_wait_s": seconds})})

    rows = make_release(settings, 1, ["a1", "a2"])
    switch_to(settings, 1)
    milvus_dir = settings.milvus_dir
    assert milvus_dir is not None
    state, _ = state_of(waiting(0.2))

    async def scenario() -> None:
        await state.refresh()
        owner = ray.get_actor(owner_name(milvus_dir), namespace=NAMESPACE)
        ray.kill(owner, no_restart=False)
        rows.add(tombstones(["a2"]))
        async with asyncio.timeout(60):
            while state.index_is_up:
                serving = await state.refresh()
        assert serving.version == 1
        assert "a2" not in serving.live, "writes are followed without the index"
        with pytest.raises(Unavailable):
            await state.index()
        monkeypatch.setattr(state, "_settings", waiting(120))
        looking = asyncio.create_task(state.keep_looking())
        assert (await state.index()).collection() == "videos_v1"
        looking.cancel()

    asyncio.run(scenario())
