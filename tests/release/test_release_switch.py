"""Concurrent promotions, roll-backs and changes of the champion."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection
from threading import Barrier, Event

import mlflow
import pytest

from rayreel.index.alias import switch_alias
from rayreel.release import audit, journal, registry
from rayreel.release.gates import PromotionRefused
from rayreel.release.increment import bring_up_to_date
from rayreel.release.journal import BadJournal, Switch
from rayreel.release.lease import Held, Lease, build_lease
from rayreel.release.promote import Promotion, promote, retire
from rayreel.release.rollback import roll_back
from rayreel.release.site import Candidate, Site
from rayreel.release.switch import Overtaken
from rayreel.storage import Storage
from release_site import point_champion, site_at, store_of

STAGES = ["embedding", "indexing", "snapshot"]


class Other:
    """A process that promotes a version, with a reason, and waits at a stage until `go_on`."""

    def __init__(self, site: Site, version: int, stage: str) -> None:
        context = multiprocessing.get_context("forkserver")
        self.pipe, theirs = context.Pipe()
        words = (site.storage.root, mlflow.get_tracking_uri(), site.client._config.uri, str(version), stage)
        # The server that forks it has the environment of the first test.
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        self.process = context.Process(target=_promotes, args=(theirs, environment, *words))
        self.process.start()
        theirs.close()
        assert self.pipe.recv() == "stopped"

    def go_on(self) -> str:
        """Let it continue, and return how it ended."""
        self.pipe.send("go on")
        return str(self.pipe.recv())

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _promotes(
    pipe: Connection, environment: dict[str, str], root: str, tracking: str, uri: str, version: str, stop: str
) -> None:
    os.environ.update(environment)
    site = site_at(Storage(root), tracking, uri)
    stopped = list[str]()

    def on_progress(stage: str, _done: int) -> None:
        if stage == stop and not stopped:
            stopped.append(stage)
            pipe.send("stopped")
            pipe.recv()

    try:
        pipe.send(f"promoted, before {promote(registry.resolve(version), site, 'two at once', on_progress).previous}")
    except Exception as error:
        pipe.send(f"{type(error).__name__} {error}".replace("\n", " "))
        raise


Start = Callable[[Site, int, str], Other]


@pytest.fixture(params=["folder", "object store"])
def serving_one(request: pytest.FixtureRequest) -> Site:
    """Version 1 serves, with storage roots of each kind."""
    if request.param == "folder":
        found: Site = request.getfixturevalue("one")
        return found
    request.getfixturevalue("monkeypatch").setenv("AWS_ACCESS_KEY_ID", "test")
    request.getfixturevalue("monkeypatch").setenv("AWS_SECRET_ACCESS_KEY", "test")
    options = f"scheme=http&endpoint_override={request.getfixturevalue('s3')}&region=us-east-1"
    bucket = f"bucket{abs(hash(request.node.name))}"
    storage = Storage(f"s3://{bucket}/prefix?{options}&allow_bucket_creation=true")
    store_of(storage)
    site: Site = request.getfixturevalue("site")
    site = replace(site, storage=storage)
    promote(registry.resolve("1"), site)
    return site


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that promotes a version, and wait until it stops at a stage."""
    running = list[Other]()

    def started(site: Site, version: int, stage: str) -> Other:
        running.append(Other(site, version, stage))
        return running[-1]

    yield started
    for other in running:
        other.kill()


def switches(*events: str) -> list[tuple[str, int, str | None]]:
    kinds = events or ("promoted", "rolled back", "restored", "kept")
    return [(event["event"], event["version"], event["from"]) for event in audit.events() if event["event"] in kinds]


def agree_on(site: Site, version: int) -> None:
    """Assert that index, registry and journal agree and no switch is in progress."""
    made = journal.last_made(site.storage)
    assert made is not None and journal.under_way(site.storage) is None
    assert site.serving() == registry.pointed_at(registry.CHAMPION) == made.version == version


@pytest.mark.slow
def test_of_two_concurrent_promotions_one_succeeds_and_the_other_is_overtaken(serving_one: Site, start: Start) -> None:
    other = start(serving_one, 3, "snapshot")
    assert promote(registry.resolve("2"), serving_one).previous == 1
    answer = other.go_on()
    assert answer.startswith("Overtaken Version 3 was judged against release 1, but release 2 serves now.")
    agree_on(serving_one, 2)
    assert switches() == [("promoted", 1, None), ("promoted", 2, "1")]
    assert roll_back(serving_one).version.number == 1
    agree_on(serving_one, 1)


@pytest.mark.parametrize("stage", STAGES)
def test_of_two_threads_that_promote_one_succeeds_at_any_stage(one: Site, stage: str) -> None:
    together = Barrier(2)

    def race(version: str) -> Promotion | Overtaken:
        met = list[str]()

        def on_progress(now: str, _done: int) -> None:
            if now == stage and not met:
                met.append(now)
                together.wait(120)

        try:
            return promote(registry.resolve(version), one, "two at once", on_progress)
        except Overtaken as overtaken:
            return overtaken

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(race, "23"))
    (won,) = [found for found in done if isinstance(found, Promotion)]
    assert won.previous == 1
    agree_on(one, won.version.number)
    assert switches()[1:] == [("promoted", won.version.number, "1")]


@pytest.mark.slow
def test_a_version_is_promoted_by_one_process_at_a_time(serving_one: Site, start: Start) -> None:
    other = start(serving_one, 2, "indexing")
    with pytest.raises(Held, match=rf"\(process {other.process.pid}\) promotes version 2 since"):
        promote(registry.resolve("2"), serving_one)
    assert other.go_on() == "promoted, before 1"
    agree_on(serving_one, 2)


@pytest.mark.parametrize("serving_one", ["folder", pytest.param("object store", marks=pytest.mark.slow)], indirect=True)
def test_a_killed_promotion_blocks_no_other_process(serving_one: Site, start: Start) -> None:
    killed = start(serving_one, 2, "indexing")
    killed.kill()
    assert promote(registry.resolve("2"), serving_one).previous == 1
    agree_on(serving_one, 2)


def test_a_roll_back_does_not_wait_for_a_build_and_is_not_undone_by_it(two: Site, start: Start) -> None:
    other = start(two, 3, "embedding")
    roll_back(two)
    assert other.go_on().startswith("Overtaken Version 3 was judged against release 2, but release 1 serves now.")
    agree_on(two, 1)


def test_updating_a_release_that_no_longer_serves_does_not_promote_it(one: Site) -> None:
    switched = Event()

    def meanwhile(_stage: str, _done: int) -> None:
        if not switched.is_set():
            switched.set()
            promote(registry.resolve("2"), one)

    one.storage.filesystem.delete_file(one.storage.path("releases", "v1", "snapshot.json"))
    with pytest.raises(Overtaken, match="release 2 serves now"):
        promote(registry.resolve("1"), one, progress=meanwhile)
    agree_on(one, 2)


def test_a_champion_moved_by_a_user_meanwhile_is_kept(one: Site) -> None:

    def meanwhile(stage: str, _done: int) -> None:
        if stage == "snapshot":
            point_champion(3)

    with pytest.raises(Overtaken, match="champion was moved in MLflow from version 1 to version 3"):
        promote(registry.resolve("2"), one, progress=meanwhile)
    assert one.serving() == 1 and registry.pointed_at(registry.CHAMPION) == 3 and len(switches()) == 1


def test_a_promotion_records_a_moved_champion_and_no_other_event(one: Site) -> None:
    point_champion(3)
    done = promote(registry.resolve("2"), one)
    assert done.taken_from == 3 and done.previous == 1
    agree_on(one, 2)
    assert switches() == [("promoted", 1, None), ("promoted", 2, "1")]
    assert audit.events()[-1]["champion_was"] == 3 and "promoted_at" not in registry.tags(3)


def test_promoting_the_serving_version_sets_the_champion_back_and_records_it(site: Site) -> None:
    promote(registry.resolve("2"), site)
    point_champion(3)
    assert promote(registry.resolve("2"), site).taken_from == 3
    agree_on(site, 2)
    assert switches() == [("promoted", 2, None), ("kept", 2, "2")] and audit.events()[-1]["champion_was"] == 3


def test_a_refused_promotion_keeps_a_moved_champion(site: Site) -> None:
    promote(registry.resolve("2"), site)
    point_champion(1)
    with pytest.raises(PromotionRefused):
        promote(registry.resolve("3"), site)
    assert registry.pointed_at(registry.CHAMPION) == 1 and site.serving() == 2 and len(audit.events()) == 1


def test_a_switch_killed_before_it_was_made_is_forgotten(one: Site) -> None:
    journal.begin(one.storage, Switch("promoted", 3, 1, 1, "ana", at="2099-01-01T00:00:00+00:00"))
    promote(registry.resolve("2"), one)
    agree_on(one, 2)
    assert switches() == [("promoted", 1, None), ("promoted", 2, "1")] and "promoted_at" not in registry.tags(3)


def test_a_killed_switch_is_finished_once_and_a_champion_moved_since_is_kept(
    one: Site,
) -> None:
    promote(registry.resolve("2"), replace(one, index=one.index.model_copy(update={"alias": "elsewhere"})))
    made = Switch("promoted", 2, 1, 1, "ana", at="2099-01-01T00:00:00+00:00")
    journal.begin(one.storage, made)
    switch_alias(one.client, one.index.alias, "videos_v2")
    audit.record(made)
    point_champion(3)
    promote(registry.resolve("2"), one)
    assert [event["at"] for event in audit.events()].count(made.at) == 1
    agree_on(one, 2)
    assert audit.events()[-1]["event"] == "promoted"


def test_an_empty_journal_file_is_reported_by_its_path(one: Site) -> None:
    one.storage.write(one.storage.path("releases", "switch.json"), b"")
    with pytest.raises(BadJournal, match=r"releases/switch\.json cannot be read.*delete the file"):
        promote(registry.resolve("2"), one)
    assert one.serving() == 1


def test_an_increment_waits_for_other_work_on_the_same_release(one: Site) -> None:
    version, impatient = registry.resolve("1"), one.release.model_copy(update={"lease_wait_s": 0.0})
    with Lease(one.storage, build_lease(1), "promotes version 1"), pytest.raises(Held, match="promotes version 1"):
        bring_up_to_date(Candidate(version, replace(one, release=impatient)))
    assert bring_up_to_date(Candidate(version, one)).videos == 100


def test_a_release_in_use_by_another_process_is_not_dropped(site: Site) -> None:
    keeping_one = replace(site, release=site.release.model_copy(update={"keep": 1}))
    for version in ("1", "2"):
        promote(registry.resolve(version), keeping_one)
    with Lease(site.storage, build_lease(1), "rolls back to version 1"):
        assert promote(registry.resolve("3"), keeping_one, force="a third").retired == []
    assert retire(keeping_one) == [1]
