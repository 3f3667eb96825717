"""The reconciler: a Ray actor that looks where MLflow's champion points and lets a task do what that asks for.

A named detached actor, so that every replica of a cluster shares one; Ray starts it again when it is killed. Several
clusters on one storage root have one each: leases let one of them act. Gates and builds run in a process of their own.
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
from rayreel.release.follow import asks, follow, look, note, renew
from rayreel.release.following import Following, State, read_following, write_following
from rayreel.release.site import Site
from rayreel.storage import Storage
from rayreel.training.tracking import TrackingUnavailable, use_tracking

log = logging.getLogger(__name__)

MakeSite = Callable[[], Site]
# The status is written so often at least: by its age replicas know that somebody looks.
SIGN_OF_LIFE_S = 15.0
# A wish that failed for another reason than its gates is tried again after so long, and then ever more rarely.
RETRY_S, RETRY_MOST_S = 10.0, 600.0


class Follower:
    """Looks every `every_s` seconds, and at once when it is nudged. To be run as an actor, see `start_follower`.

    `identity` says which settings and which code it was made with.
    """

    def __init__(self, make_site: MakeSite, storage: Storage, every_s: float, identity: str) -> None:
        self._make_site, self._storage, self._every_s, self._identity = make_site, storage, every_s, identity
        self._site: Site | None = None
        self._status = read_following(storage)
        self._tried: int | None = None
        self._written, self._retry_at, self._delay_s = 0.0, 0.0, RETRY_S
        self._nudged, self._renewed = Event(), False
        Thread(target=self._run, name="follow", daemon=True).start()

    def identity(self) -> str:
        """Which settings and which code it was made with."""
        return self._identity

    def nudge(self, *, renewed: bool = False) -> None:
        """Look now; `renewed`: a person has moved the champion this very moment, be it to where it was."""
        self._renewed = self._renewed or renewed
        self._nudged.set()

    def _run(self) -> None:
        while True:
            self._turn()
            self._nudged.wait(self._every_s)
            self._nudged.clear()

    def _turn(self) -> None:
        try:
            found = self._look()
            if not asks(found, again=True) or time.monotonic() < self._retry_at:
                self._tell(self._status if found.state is State.WANTED and self._status else found)
                return
            self._tell(self._act(found))
        except Exception as error:  # noqa: BLE001 - what serves goes on, and the next turn may be better
            self._tell(self._failed(error))

    def _look(self) -> Following:
        if self._site is None:
            use_tracking(self._storage)
            self._site = self._make_site()
        found = look(self._site)
        note(self._site, found)
        if self._renewed:
            self._renewed, self._tried, found = False, None, renew(self._site, found)
        if found.wanted != self._tried:
            self._retry_at, self._delay_s = 0.0, RETRY_S
        return found

    def _act(self, found: Following) -> Following:
        """Let a task follow, and tell meanwhile what is going on. What fails is tried again ever more rarely."""
        assert self._site is not None
        self._tried, self._retry_at = found.wanted, time.monotonic() + self._delay_s
        self._delay_s = min(2 * self._delay_s, RETRY_MOST_S)
        found = replace(found, state=State.FOLLOWING, reason=f"Version {found.wanted} is judged and built.")
        self._tell(found)
        task = _task(self._site).remote(self._make_site, self._storage)
        while not ray.wait([task], timeout=self._every_s)[0]:
            self._tell(found)
            if self._is_elsewhere(found.wanted):
                ray.cancel(task, force=True)
        try:
            done: Following = ray.get(task)
        except (TaskCancelledError, WorkerCrashedError):
            done = replace(found, state=State.WAITING, reason="What was judged and built was ended.")
        return done

    def _is_elsewhere(self, wanted: int | None) -> bool:
        try:
            return registry.pointed_at(registry.CHAMPION) != wanted
        except TrackingUnavailable:
            return False

    def _failed(self, error: Exception) -> Following:
        serving = self._status.serving if self._status else None
        wanted = self._status.wanted if self._status else None
        mode = self._site.release.follow if self._site else "gate"
        away = _away(error)
        if away is None:
            log.exception("following the champion in MLflow failed")
        reason = f"{away or 'An unforeseen error, see the logs of the actor Follower'}; tried again."
        state = State.UNREACHABLE if away else State.FAILED
        return Following(state, mode, serving, wanted, reason, detail=f"{type(error).__name__}: {error}")

    def _tell(self, found: Following) -> None:
        changed = found != self._status
        if changed:
            log.info("following: %s %s", found.state, found.reason)
        if changed or time.monotonic() - self._written > SIGN_OF_LIFE_S:
            with suppress(OSError):  # the next turn writes it
                write_following(self._storage, found)
                self._status, self._written = found, time.monotonic()


def start_follower(
    make_site: MakeSite, storage: Storage, every_s: float, identity: str, *, here: bool, renew: bool
) -> Any:  # noqa: ANN401 - a Ray actor
    """Let somebody follow MLflow's champion for this storage root; nothing happens where somebody does.

    `here` keeps it on this node, on which the embedded Milvus is. With `renew`, one of another identity is replaced.
    """
    name = follower_name(storage)
    if renew:
        with suppress(ValueError, RayError):
            former = ray.get_actor(name, namespace=NAMESPACE)
            if ray.get(former.identity.remote(), timeout=10) == identity:
                return former
            ray.kill(former, no_restart=True)
    options: dict[str, Any] = {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    options |= {"num_cpus": 0, "max_restarts": -1, **(_here() if here else {})}
    return ray.remote(Follower).options(**options).remote(make_site, storage, every_s, identity)


def nudge_follower(storage: Storage) -> None:
    """The champion has been moved: let it look now; nothing happens where there is none."""
    with suppress(ValueError):
        ray.get_actor(follower_name(storage), namespace=NAMESPACE).nudge.remote(renewed=True)


def stop_follower(storage: Storage) -> None:
    """End it, and what it is doing."""
    with suppress(ValueError):
        ray.kill(ray.get_actor(follower_name(storage), namespace=NAMESPACE), no_restart=True)


def follower_name(storage: Storage) -> str:
    """Name of the actor that follows for a storage root."""
    return f"follower-{hashlib.blake2b(storage.root.encode(), digest_size=8).hexdigest()}"


def _task(site: Site) -> Any:  # noqa: ANN401 - a Ray task
    """One process for one wish, which takes its memory along when it ends."""
    labels = site.release.embed_on
    place = {"label_selector": labels} if labels else _here()
    return ray.remote(num_cpus=0, max_calls=1, max_retries=0)(_follow_once).options(**place)


def _follow_once(make_site: MakeSite, storage: Storage) -> Following:
    use_tracking(storage)
    return follow(make_site(), again=True)


def _here() -> dict[str, Any]:
    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)}


def _away(error: Exception) -> str | None:
    """What does not answer; None for every other error. A task's error is of its own type and of Ray's."""
    if isinstance(error, TrackingUnavailable):
        return "MLflow does not answer"
    if isinstance(error, IndexUnavailable) or is_disconnected(error):
        return "The index does not answer"
    return None
