"""The reconciler as a Ray actor, while MLflow's champion is moved and the actor is killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial

import mlflow
import pytest
import ray

import release_site
from rayreel.index.embedded import NAMESPACE
from rayreel.release import audit, registry
from rayreel.release.config import ReleaseConfig
from rayreel.release.follower import follower_name, nudge_follower, start_follower, stop_follower
from rayreel.release.following import FollowStatus, State, read_following
from rayreel.release.promote import promote
from rayreel.release.site import Site
from release_site import point_champion, site_at

# Ray's workers do not have the tests' folder on their path.
ray.cloudpickle.register_pickle_by_value(release_site)

PATIENCE_S = 120.0
Start = Callable[..., None]


@pytest.fixture
def start(site: Site) -> Iterator[Start]:
    def started(identity: str = "first", *, renew: bool = False, tracking: str | None = None) -> None:
        tracked = tracking or mlflow.get_tracking_uri()
        make = partial(site_at, site.storage, tracked, site.client._config.uri)
        start_follower(make, site.storage, ReleaseConfig(follow_every_s=0.5), identity, here=True, renew=renew)

    yield started
    stop_follower(site.storage)


def eventually(site: Site, state: State, wanted: int | None) -> FollowStatus:
    """Wait for a status of the reconciler and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = read_following(site.storage)
        if found is not None and (found.state, found.wanted) == (state, wanted):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def pid(site: Site) -> int:
    actor = ray.get_actor(follower_name(site.storage), namespace=NAMESPACE)
    return int(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))


@pytest.mark.slow
def test_the_reconciler_follows_refuses_and_follows_again_after_a_kill(site: Site, start: Start) -> None:
    promote(registry.resolve("1"), site)
    start()
    eventually(site, State.IN_STEP, 1)
    point_champion(2)
    eventually(site, State.IN_STEP, 2)
    assert site.serving() == 2
    point_champion(3)
    refused = eventually(site, State.REFUSED, 3)
    assert refused.gates == ("category/ndcg@10, better: champion",) and site.serving() == 2
    os.kill(pid(site), signal.SIGKILL)
    point_champion(1)
    eventually(site, State.IN_STEP, 1)
    assert site.serving() == 1 and audit.events()[-1]["event"] == "rolled back"
    assert [event["event"] for event in audit.events()].count("refused") == 1


def test_replicas_share_one_reconciler_and_newer_settings_replace_it(site: Site, start: Start) -> None:
    start()
    eventually(site, State.NO_CHAMPION, None)
    first = pid(site)
    start()
    start("another", renew=False)
    start("first", renew=True)
    assert pid(site) == first
    start("second", renew=True)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        start("second")  # as replicas do repeatedly
        try:
            if pid(site) != first:
                return
        except (ValueError, ray.exceptions.RayActorError):  # the old one is stopping
            time.sleep(0.5)
    pytest.fail("the old reconciler is still running")


@pytest.mark.slow
def test_a_nudge_makes_the_reconciler_judge_a_refused_champion_again(site: Site, start: Start) -> None:
    promote(registry.resolve("2"), site)
    point_champion(3)
    start()
    eventually(site, State.REFUSED, 3)
    nudge_follower(site.storage)
    deadline = time.monotonic() + PATIENCE_S
    while [event["event"] for event in audit.events()].count("refused") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
