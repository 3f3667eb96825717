"""A lease: one process at a time changes one thing below the storage root, and a process that dies lets go of it."""

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
from rayreel.release.exclusive import create, prove_exclusive
from rayreel.release.process import Process
from rayreel.storage import Storage

log = logging.getLogger(__name__)

# A lease that has not been renewed for so long, by the clock of the process that wants it, is taken over.
TTL_S = 30.0
# Renewals within that time; one may be late and one may fail.
BEATS = 6
_POLL_S = 0.2


class Held(RayreelError):
    """Another process is changing the same thing."""


class LeaseLost(RayreelError):
    """A lease was taken over, because this process did not renew it in time."""


class Holder(BaseModel):
    """What a lease's newest file says. `since` and `renewed_at` are ISO 8601 in UTC, by the holder's clock."""

    model_config = ConfigDict(frozen=True)

    token: str
    what: str
    process: Process
    since: str
    renewed_at: str
    released: bool = False

    def __str__(self) -> str:
        by = f"{self.process.who} (process {self.process.pid})"
        return f"{by} {self.what} since {self.since}; last sign of life at {self.renewed_at}"


class _Seen(NamedTuple):
    number: int
    holder: Holder | None


class Lease:
    """Hold `releases/leases/NAME` while the block runs; renewed in the background.

    Its files are numbered. Taking, renewing and releasing all mean creating the next number, which only one process
    can: there is no moment in which two hold it, whatever their clocks say. A process that ends without releasing is
    replaced at once on the same machine, and elsewhere after TTL_S without a renewal.

    Raises:
        Held: another process holds it and is alive; after waiting `patience_s`.
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
            log.warning("the lease %s had been taken over when it was released", self._folder)
        except OSError as problem:
            log.warning(
                "the lease %s could not be released and expires in %g s: %s", self._folder, self._ttl_s, problem
            )

    def check(self) -> None:
        """Renew now. For the moment before a change that must not be made twice. Raises LeaseLost."""
        self._next()

    def _take(self) -> None:
        start = unchanged = time.monotonic()
        seen, moved = self._newest(), False
        while not (self._is_free(seen, time.monotonic() - unchanged) and self._create(seen.number + 1)):
            now = self._newest()
            if now != seen:
                moved, seen, unchanged = now.holder is not None and not now.holder.released, now, time.monotonic()
                continue
            if (moved or _is_fresh(seen.holder, self._ttl_s)) and time.monotonic() - start >= self._patience_s:
                raise Held(
                    f"Another process is at it: {seen.holder}. Nothing has been changed. Wait until it has ended and "
                    "run the same command again, or end that process: its lease then expires within "
                    f"{self._ttl_s:g} s."
                )
            time.sleep(_POLL_S)

    def _is_free(self, seen: _Seen, unchanged_s: float) -> bool:
        if seen.number == 0 or unchanged_s > self._ttl_s:
            return True
        return seen.holder is not None and (seen.holder.released or seen.holder.process.is_gone())

    def _beat(self) -> None:
        while not self._ending.wait(self._ttl_s / BEATS):
            try:
                self._next()
            except LeaseLost:
                return
            except OSError as problem:
                log.warning("the lease %s could not be renewed: %s", self._folder, problem)

    def _next(self, *, released: bool = False) -> None:
        """Create the next number. Raises LeaseLost when another process has done so."""
        with self._writing:
            mine = not self._lost and self._newest().number == self._number
            self._lost = not (mine and self._create(self._number + 1, released=released))
        if self._lost:
            raise LeaseLost(
                f"This process {self._what}, but did not renew its lease within {self._ttl_s:g} s, and another one "
                f"took it: {self._newest().holder or 'unknown'}. Nothing more has been changed. Run the same command "
                "again."
            )

    def _create(self, number: int, *, released: bool = False) -> bool:
        holder = Holder(
            token=self._token,
            what=self._what,
            process=self._process,
            since=self._since,
            renewed_at=_now(),
            released=released,
        )
        if not create(self._storage, self._path(number), holder.model_dump_json().encode()):
            return False
        # A process that slept through many renewals may have created a number that is long past.
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
        except (ValidationError, FileNotFoundError):  # being written or replaced, or cut off by a power failure
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
    """Name of the lease of whoever changes a release's rows, collection or snapshot as a whole."""
    return f"v{version}"


def _name(number: int) -> str:
    return f"{number:012}.json"


def _is_fresh(holder: Holder | None, ttl_s: float) -> bool:
    """Whether it was renewed a moment ago, by both clocks; where they differ, only watching tells."""
    if holder is None:
        return False
    age_s = (datetime.now(UTC) - datetime.fromisoformat(holder.renewed_at)).total_seconds()
    return 0 <= age_s < 2 * ttl_s / BEATS


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
