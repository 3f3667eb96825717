"""The reconciler: a Ray actor that polls MLflow's champion and starts a task to promote or roll back to it.

It is a named detached actor, so all replicas of a cluster share one, and Ray restarts it when it is killed. Clusters
that share a storage root have one each; leases ensure that only one acts. Gates and builds run in a separate process.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import ray
from ray.exceptions import RayError, TaskCancelledError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayreel.index.config import IndexUnavailable
from rayreel.index.embedded import NAMESPACE
from rayreel.index.retry import is_disconnected
from rayreel.release import registry
from rayreel.release.config import ReleaseConfig
from rayreel.release.follow import follow, look, needs_action, note, renew
from rayreel.release.following import FollowStatus, State, read_following, write_following
from rayreel.release.site import Site
from rayreel.storage import Storage
from rayreel.training.tracking import TrackingUnavailable, use_tracking

log = logging.getLogger(__name__)

MakeSite = Callable[[], Site]
# Longest interval between status writes. Replicas report a reconciler with an older status as stopped.
SIGN_OF_LIFE_S = 15.0


class Follower:
    """Polls every `config.follow_every_s` seconds, and at once after `nudge`. Runs as an actor: see `start_follower`.

    `identity` is a digest of the settings and the code that it was created with.
    """

    def __init__(self, make_site: MakeSite, storage: Storage, config: ReleaseConfig, identity: str) -> None:
        self._make_site, self._storage, self._config, self._identity = make_site, storage, config, identity
        self._site: Site | None = None
        self._status = read_following(storage)
        self._tried: int | None = None
        self._written, self._retry_at, self._delay_s = 0.0, 0.0, config.retry_s
        self._nudged, self._renewed = Event(), False
        Thread(target=self._run, name="follow", daemon=True).start()

    def identity(self) -> str:
        """Return the digest of settings and code that it was created with."""
        return self._identity

    def nudge(self, *, renewed: bool = False) -> None:
        """Poll now. `renewed` means that the champion was just set, possibly to the same version as before."""
        self._renewed = self._renewed or renewed
        self._nudged.set()

    def _run(self) -> None:
        while True:
            self._turn()
            self._nudged.wait(self._config.follow_every_s)
            self._nudged.clear()

    def _turn(self) -> None:
        try:
            found = self._look()
            if not needs_action(found, again=True) or time.monotonic() < self._retry_at:
                self._report(self._status if found.state is State.WANTED and self._status else found)
                return
            self._report(self._act(found))
        except Exception as error:  # noqa: BLE001 - the thread must survive; the next turn tries again
            self._report(self._failed(error))

    def _look(self) -> FollowStatus:
        if self._site is None:
            use_tracking(self._storage)
            self._site = self._make_site()
        found = look(self._site)
        note(self._site, found)
        if self._renewed:
            self._renewed, self._tried, found = False, None, renew(self._site, found)
        if found.wanted != self._tried:
            self._retry_at, self._delay_s = 0.0, self._config.retry_s
        return found

    def _act(self, found: FollowStatus) -> FollowStatus:
        """Run a task that follows, and keep the status fresh meanwhile. Failures are retried with increasing delays."""
        assert self._site is not None
        self._tried, self._retry_at = found.wanted, time.monotonic() + self._delay_s
        self._delay_s = min(2 * self._delay_s, self._config.retry_most_s)
        found = replace(found, state=State.FOLLOWING, reason=f"Version {found.wanted} is being judged and built.")
        self._report(found)
        task = _task(self._site).remote(self._make_site, self._storage)
        while not ray.wait([task], timeout=self._config.follow_every_s)[0]:
            self._report(found)
            if self._has_moved(found.wanted):
                ray.cancel(task, force=True)
        try:
            done: FollowStatus = ray.get(task)
        except (TaskCancelledError, WorkerCrashedError):
            done = replace(found, state=State.WAITING, reason="Judging and building was interrupted.")
        return done

    def _has_moved(self, wanted: int | None) -> bool:
        try:
            return registry.pointed_at(registry.CHAMPION) != wanted
        except TrackingUnavailable:
            return False

    def _failed(self, error: Exception) -> FollowStatus:
        serving = self._status.serving if self._status else None
        wanted = self._status.wanted if self._status else None
        mode = self._site.release.follow if self._site else "gate"
        away = _unreachable(error)
        if away is None:
            log.exception("following the champion in MLflow failed")
        reason = f"{away or 'Unexpected error, see the log of the actor Follower'}; trying again."
        state = State.UNREACHABLE if away else State.FAILED
        return FollowStatus(state, mode, serving, wanted, reason, detail=f"{type(error).__name__}: {error}")

    def _report(self, found: FollowStatus) -> None:
        changed = found != self._status
        if changed:
            log.info("following: %s %s", found.state, found.reason)
        if changed or time.monotonic() - self._written > SIGN_OF_LIFE_S:
            try:
                write_following(self._storage, found)
            except OSError as error:
                log.warning("the status of following could not be written; trying again: %s", error)
                return
            self._status, self._written = found, time.monotonic()


def start_follower(
    make_site: MakeSite, storage: Storage, config: ReleaseConfig, identity: str, *, here: bool, renew: bool
) -> Any:  # noqa: ANN401 - a Ray actor
    """Start the reconciler of this storage root, or return the one that is running.

    `here` keeps it on this node, where the embedded Milvus runs. With `renew`, a reconciler with another identity is
    replaced.
    """
    name = follower_name(storage)
    if renew:
        _stop_unless(identity, name)
    options: dict[str, Any] = {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    options |= {"num_cpus": 0, "max_restarts": -1, **(_here() if here else {})}
    return ray.remote(Follower).options(**options).remote(make_site, storage, config, identity)


def _stop_unless(identity: str, name: str) -> None:
    """Stop the running reconciler if it has another identity. Keeps one that does not answer."""
    with suppress(ValueError):  # none is running
        former = ray.get_actor(name, namespace=NAMESPACE)
        try:
            if ray.get(former.identity.remote(), timeout=10) != identity:
                ray.kill(former, no_restart=True)
        except RayError as error:
            log.warning("the running reconciler does not answer and is not replaced: %s", error)


def nudge_follower(storage: Storage) -> None:
    """Have the reconciler poll now because the champion was set. Does nothing if none is running."""
    with suppress(ValueError):
        ray.get_actor(follower_name(storage), namespace=NAMESPACE).nudge.remote(renewed=True)


def stop_follower(storage: Storage) -> None:
    """Stop the reconciler and its task."""
    with suppress(ValueError):
        ray.kill(ray.get_actor(follower_name(storage), namespace=NAMESPACE), no_restart=True)


def follower_name(storage: Storage) -> str:
    """Name of the reconciler actor of a storage root."""
    return f"follower-{hashlib.blake2b(storage.root.encode(), digest_size=8).hexdigest()}"


def _task(site: Site) -> Any:  # noqa: ANN401 - a Ray task
    """A remote function that runs in a new process for each call, so that its memory is freed afterwards."""
    labels = site.release.embed_on
    place = {"label_selector": labels} if labels else _here()
    return ray.remote(num_cpus=0, max_calls=1, max_retries=0)(_follow_once).options(**place)


def _follow_once(make_site: MakeSite, storage: Storage) -> FollowStatus:
    use_tracking(storage)
    return follow(make_site(), again=True)


def _here() -> dict[str, Any]:
    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)}


def _unreachable(error: Exception) -> str | None:
    """Name the service that does not answer; None for other errors. A Ray task's error has its cause's type as well."""
    if isinstance(error, TrackingUnavailable):
        return "MLflow does not answer"
    if isinstance(error, IndexUnavailable) or is_disconnected(error):
        return "The index does not answer"
    return None
