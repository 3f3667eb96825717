"""The file of API keys: changed by a job, watched by the service."""

import asyncio
import logging
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock

from rayreel.access.keys import KEY_ID, BadKeys, Key, Keyring, read_keys, written
from rayreel.errors import RayreelError
from rayreel.storage import Storage

log = logging.getLogger(__name__)

Revoked = Mapping[str, float]
_MARKER = re.compile(rf"({KEY_ID})\.(-?\d{{1,17}})")


class KeyFile:
    """Keys in one JSON file: `access/keys.json` of the storage, or a path or URI of its own.

    Beside it lies a folder with a marker for each revoked key, `keys.revoked/<id>.<milliseconds since 1970>`. A marker
    is written first, never changed and never deleted, and says all in its name: neither damage to the file of keys nor
    an old copy of it brings a revoked key back.
    """

    def __init__(self, place: Storage, keys_file: str | None = None) -> None:
        folder, _, name = (keys_file or "").rpartition("/")
        self._storage = place if keys_file is None else Storage(folder or ("/" if keys_file.startswith("/") else "."))
        self._path = self._storage.path("access", "keys.json") if keys_file is None else self._storage.path(name)
        self._markers = f"{self._path.removesuffix('.json')}.revoked"

    def content(self) -> bytes | None:
        """The file as it is now, without what markers say; None when there is none."""
        return self._storage.read(self._path)

    def revoked(self) -> Revoked:
        """When each revoked key ends, in seconds since 1970; of several moments the first."""
        ends: dict[str, float] = {}
        for path in self._storage.files(self._markers, ""):
            if marker := _MARKER.fullmatch(path.rpartition("/")[2]):
                ends[marker[1]] = min(int(marker[2]) / 1000, ends.get(marker[1], math.inf))
        return ends

    def read(self) -> list[Key]:
        """All keys, also those that have expired, oldest first. Raises BadKeys."""
        return ended(read_keys(self.content()), self.revoked())

    def add(self, key: Key) -> None:
        """Keep one more key. Raises BadKeys."""
        with self._alone():
            self._write([*self.read(), key])

    def expire(self, key_id: str, at: float) -> Key:
        """End a key at `at` (seconds since 1970), or when it would end if that is earlier.

        Raises BadKeys where there is no such key, and where the file is damaged; the key is revoked then all the same.
        """
        with self._alone():
            try:
                keys = {key.id: key for key in self.read()}
            except BadKeys as error:
                self._mark(key_id, at)
                raise BadKeys(f"{key_id} is revoked. {error}") from None
            if key_id not in keys:
                raise BadKeys(f"There is no key {key_id!r}. `python jobs/keys.py list` shows their ids.")
            self._mark(key_id, at)
            (keys[key_id],) = ended([keys[key_id]], {key_id: at})
            self._write(list(keys.values()))
        return keys[key_id]

    def _mark(self, key_id: str, at: float) -> None:
        if not re.fullmatch(KEY_ID, key_id):
            raise BadKeys(f"{key_id!r} is no id of a key: expected the 12 letters and digits after rr_.")
        self._storage.write(f"{self._markers}/{key_id}.{math.floor(at * 1000)}", b"")

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

    A file that cannot be read leaves the keys known last in force, but for those revoked since. After a restart with a
    file that cannot be read nobody gets in. Belongs to one event loop.
    """

    def __init__(self, file: KeyFile, refresh_s: float) -> None:
        self._file, self._refresh_s = file, refresh_s
        self._content: bytes | None = None
        self._revoked: Revoked = {}
        self._keys: list[Key] | None = None
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
            revoked = await asyncio.to_thread(self._file.revoked)
            content = await asyncio.to_thread(self._file.content)
            self._take(content, revoked)
        except (OSError, RayreelError):
            log.exception("the file of API keys cannot be read")
        self._looked_at = time.monotonic()

    def _take(self, content: bytes | None, revoked: Revoked) -> None:
        """Keep what was read; revocations also where the file itself is damaged. Raises BadKeys."""
        if self._keys is not None and revoked != self._revoked:
            self._ring = Keyring(ended(self._keys, revoked))
        self._revoked = revoked
        if self._keys is None or content != self._content:
            self._keys, self._content = read_keys(content), content
            self._ring = Keyring(ended(self._keys, revoked))


def ended(keys: Sequence[Key], revoked: Revoked) -> list[Key]:
    """Keys with the ends that revocations give them."""
    ends = {key.id: math.inf if key.expires_at is None else key.expires_at for key in keys}
    return [
        key.model_copy(update={"expires_at": min(revoked[key.id], ends[key.id])}) if key.id in revoked else key
        for key in keys
    ]
