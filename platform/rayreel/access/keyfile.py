"""The file of API keys: changed by a job, watched by the service."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock

from rayreel.access.keys import BadKeys, Key, Keyring, read_keys, written
from rayreel.storage import Storage

log = logging.getLogger(__name__)


class KeyFile:
    """Keys in one JSON file: `access/keys.json` of the storage, or a path or URI of its own."""

    def __init__(self, place: Storage, keys_file: str | None = None) -> None:
        folder, _, name = (keys_file or "").rpartition("/")
        self._storage = place if keys_file is None else Storage(folder or ("/" if keys_file.startswith("/") else "."))
        self._path = self._storage.path("access", "keys.json") if keys_file is None else self._storage.path(name)

    def content(self) -> bytes | None:
        """The file as it is now; None when there is none."""
        return self._storage.read(self._path)

    def read(self) -> list[Key]:
        """All keys, also those that have expired, oldest first. Raises BadKeys."""
        return read_keys(self.content())

    def add(self, key: Key) -> None:
        """Keep one more key."""
        with self._alone():
            self._write([*self.read(), key])

    def expire(self, key_id: str, at: float) -> Key:
        """Let a key count until `at` (seconds since 1970) and no longer. Raises BadKeys where there is no such key."""
        with self._alone():
            keys = {key.id: key for key in self.read()}
            if key_id not in keys:
                raise BadKeys(f"There is no key {key_id!r}. `python jobs/keys.py list` shows their ids.")
            former = keys[key_id].expires_at
            keys[key_id] = keys[key_id].model_copy(update={"expires_at": at if former is None else min(at, former)})
            self._write(list(keys.values()))
        return keys[key_id]

    def _write(self, keys: list[Key]) -> None:
        self._storage.write(self._path, written(keys))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One change at a time, as far as the storage knows locks."""
        if self._storage.is_local:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self._path}.lock") if self._storage.is_local else nullcontext():
            yield


class WatchedKeys:
    """The keys of a file, looked at again every `refresh_s`: made and revoked ones count without a restart.

    A file that cannot be read leaves the keys known last in force. Belongs to one event loop.
    """

    def __init__(self, file: KeyFile, refresh_s: float) -> None:
        self._file, self._refresh_s = file, refresh_s
        self._content: bytes | None = None
        self._ring: Keyring | None = None
        self._looked_at = -float("inf")
        self._looking: asyncio.Task[None] | None = None

    async def current(self) -> Keyring:
        """The keys that count now. Raises BadKeys when they could never be read."""
        age = time.monotonic() - self._looked_at
        if age > self._refresh_s:
            looking = self._look()
            # An object store takes its time: who asks all the time need not wait, who comes after a pause must.
            if self._ring is None or age > 5 * self._refresh_s:
                await asyncio.shield(looking)
        if self._ring is None:
            raise BadKeys("The API keys cannot be read; the service's logs say why.")
        return self._ring

    def _look(self) -> asyncio.Task[None]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._read())
        return self._looking

    async def _read(self) -> None:
        try:
            content = await asyncio.to_thread(self._file.content)
            if self._ring is None or content != self._content:
                self._ring, self._content = Keyring(read_keys(content)), content
        except (OSError, BadKeys):
            log.exception("the file of API keys cannot be read")
        self._looked_at = time.monotonic()
