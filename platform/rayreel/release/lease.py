"""Leases: mutual exclusion between processes that share a storage root, with expiry when the holder dies."""

import logging
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from types import TracebackType
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rayreel.errors import RayreelError
from rayreel.release.config import ReleaseConfig
from rayreel.release.exclusive import create, prove_exclusive
from rayreel.release.process import Process
from rayreel.storage import Storage

log = logging.getLogger(__name__)

# Default of `release.lease_s`, for the files of earlier versions.
TTL_S = ReleaseConfig().lease_s
# Renewals per TTL, so that a late or failed renewal does not lose the lease.
BEATS = 6
_POLL_S = 0.2


class Held(RayreelError):
    """Another process holds the lease."""


class LeaseLost(RayreelError):
    """This process did not renew its lease in time, and another process took it over."""


class Holder(BaseModel):
    """Content of a lease's newest file. `since` and `renewed_at` are ISO 8601 in UTC, by the holder's clock.

    A lease not renewed for `ttl_s` seconds, by the clock of the process that waits for it, can be taken over.
    """

    model_config = ConfigDict(frozen=True)

    token: str
    what: str
    process: Process
    since: str
    renewed_at: str
    ttl_s: float = TTL_S
    released: bool = False

    def __str__(self) -> str:
        by = f"{self.process.who} (process {self.process.pid})"
        return f"{by} {self.what} since {self.since}; last renewed at {self.renewed_at}"


class _Seen(NamedTuple):
    number: int
    holder: Holder | None


class Lease:
    """Context manager that holds the lease `releases/leases/NAME` and renews it in the background.

    A lease is a sequence of numbered files. Acquiring, renewing and releasing each create the next file, which only one
    process can do, so two processes never hold a lease at once, regardless of clock skew. If the holder ends without
    releasing, a process on the same machine can take over at once, and one elsewhere after `ttl_s` without a renewal.
    `what` describes the work in error messages, such as "promotes version 2".

    Raises:
        Held: another process still holds the lease after `patience_s` seconds.
    """

    def __init__(
        self, storage: Storage, name: str, what: str, *, patience_s: float = 0.0, ttl_s: float = TTL_S
    ) -> None:
        self._storage, self._what, self._patience_s, self._ttl_s = storage, what, patience_s, ttl_s
        self._folder = storage.path("releases", "leases", name)
        self._token, self._process, self._since = uuid.uuid4().hex, Process.this(), _now()
        self._number, self._renewed, self._lost = 0, 0.0, False
        self._ending, self._writing = Event(), Lock()
        self._beating = Thread(target=self._beat, name=f"lease-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._take()
        prove_exclusive(self._storage, self._path(self._number))
        self._beating.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ending.set()
        self._beating.join()
        try:
            self._next(released=True)
        except LeaseLost:
            log.warning("lease %s was taken over before it was released", self._folder)
        except OSError as problem:
            log.warning("lease %s could not be released and expires in %g s: %s", self._folder, self._ttl_s, problem)

    def check(self) -> None:
        """Renew the lease now. Call it right before a change that must not be made twice. Raises LeaseLost."""
        self._next()

    def _take(self) -> None:
        start = unchanged = time.monotonic()
        seen, moved = self._newest(), False
        while not (self._is_free(seen, time.monotonic() - unchanged) and self._create(seen.number + 1)):
            now = self._newest()
            if now != seen:
                moved, seen, unchanged = now.holder is not None and not now.holder.released, now, time.monotonic()
                continue
            if (moved or _is_fresh(seen.holder)) and time.monotonic() - start >= self._patience_s:
                raise Held(
                    f"Another process is working on this: {seen.holder}. Nothing has been changed. Wait until it has "
                    "ended and run the same command again, or end that process: its lease then expires within "
                    f"{self._ttl_of(seen):g} s."
                )
            time.sleep(_POLL_S)

    def _is_free(self, seen: _Seen, unchanged_s: float) -> bool:
        if seen.number == 0 or unchanged_s > self._ttl_of(seen):
            return True
        return seen.holder is not None and (seen.holder.released or seen.holder.process.is_gone())

    def _ttl_of(self, seen: _Seen) -> float:
        """The holder's own limit: its settings may differ from those of this process."""
        return self._ttl_s if seen.holder is None else seen.holder.ttl_s

    def _beat(self) -> None:
        while not self._ending.wait(self._ttl_s / BEATS):
            try:
                self._next()
            except LeaseLost:
                return
            except OSError as problem:
                log.warning("lease %s could not be renewed: %s", self._folder, problem)

    def _next(self, *, released: bool = False) -> None:
        """Create the next numbered file. Raises LeaseLost if another process has created it."""
        with self._writing:
            mine = not self._lost and self._newest().number == self._number
            self._lost = not (mine and self._create(self._number + 1, released=released))
        if self._lost:
            raise LeaseLost(
                f"This process {self._what}, but did not renew its lease within {self._ttl_s:g} s, and another process "
                f"took it over: {self._newest().holder or 'unknown'}. No further changes have been made. Run the same "
                "command again."
            )

    def _create(self, number: int, *, released: bool = False) -> bool:
        holder = Holder(
            token=self._token,
            what=self._what,
            process=self._process,
            since=self._since,
            renewed_at=_now(),
            ttl_s=self._ttl_s,
            released=released,
        )
        if not create(self._storage, self._path(number), holder.model_dump_json().encode()):
            return False
        # After a long suspension, this process may have created a number that was used and deleted before.
        names = self._names()
        if names[-1] != _name(number):
            self._delete(_name(number))
            return False
        self._number = number
        for name in names[:-1]:
            self._delete(name)
        return True

    def _newest(self) -> _Seen:
        names = self._names()
        if not names:
            return _Seen(0, None)
        try:
            holder = Holder.model_validate_json(self._storage.read(f"{self._folder}/{names[-1]}") or b"")
        except (ValidationError, FileNotFoundError):  # being written or replaced, or truncated by a power failure
            holder = None
        return _Seen(int(names[-1].removesuffix(".json")), holder)

    def _names(self) -> list[str]:
        return [path.rpartition("/")[2] for path in self._storage.files(self._folder, ".json")]

    def _path(self, number: int) -> str:
        return f"{self._folder}/{_name(number)}"

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._storage.filesystem.delete_file(f"{self._folder}/{name}")


def build_lease(version: int) -> str:
    """Name of the lease that protects a release's rows, collection and snapshot."""
    return f"v{version}"


def _name(number: int) -> str:
    return f"{number:012}.json"


def _is_fresh(holder: Holder | None) -> bool:
    """Whether `renewed_at` is recent by the local clock. With clock skew, only a later renewal proves that it lives."""
    if holder is None:
        return False
    age_s = (datetime.now(UTC) - datetime.fromisoformat(holder.renewed_at)).total_seconds()
    return 0 <= age_s < 2 * holder.ttl_s / BEATS


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
