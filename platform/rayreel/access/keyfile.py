"""The file of API keys, which `rayreel keys` edits and the service polls."""

import asyncio
import logging
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock

from rayreel.access.keys import KEY_ID, BadKeys, Key, Keyring, dump_keys, read_keys
from rayreel.errors import RayreelError
from rayreel.storage import Storage

log = logging.getLogger(__name__)

Revoked = Mapping[str, float]
_MARKER = re.compile(rf"({KEY_ID})\.(-?\d{{1,17}})")


class KeyFile:
    """A JSON file of keys: `access/keys.json` in the storage, or any path or URI.

    A folder next to it has an empty marker file for each revocation, `keys.revoked/<id>.<milliseconds since 1970>`.
    Markers are written before the key file and never changed or deleted, so neither a damaged key file nor an old copy
    of it makes a revoked key valid again.
    """

    def __init__(self, storage: Storage, keys_file: str | None = None) -> None:
        folder, _, name = (keys_file or "").rpartition("/")
        self._storage = storage if keys_file is None else Storage(folder or ("/" if keys_file.startswith("/") else "."))
        self._path = self._storage.path("access", "keys.json") if keys_file is None else self._storage.path(name)
        self._markers = f"{self._path.removesuffix('.json')}.revoked"

    def content(self) -> bytes | None:
        """Return the content of the key file without applying revocations, or None if it does not exist."""
        return self._storage.read(self._path)

    def revoked(self) -> Revoked:
        """Return when each revoked key expires, in seconds since 1970; the earliest time if there are several."""
        ends: dict[str, float] = {}
        for path in self._storage.files(self._markers, ""):
            if marker := _MARKER.fullmatch(path.rpartition("/")[2]):
                ends[marker[1]] = min(int(marker[2]) / 1000, ends.get(marker[1], math.inf))
        return ends

    def read(self) -> list[Key]:
        """Return all keys including expired ones, oldest first. Raises BadKeys."""
        return apply_revocations(read_keys(self.content()), self.revoked())

    def add(self, key: Key) -> None:
        """Add a key. Raises BadKeys."""
        with self._locked():
            self._write([*self.read(), key])

    def expire(self, key_id: str, at: float) -> Key:
        """Expire a key at `at` (seconds since 1970), or at its current expiry if that is earlier.

        Raises BadKeys if the key does not exist or the file is damaged; in the latter case the key is revoked anyway.
        """
        with self._locked():
            try:
                keys = {key.id: key for key in self.read()}
            except BadKeys as error:
                self._mark(key_id, at)
                raise BadKeys(f"{key_id} is revoked. {error}") from None
            if key_id not in keys:
                raise BadKeys(f"No key with the id {key_id!r}. Run `rayreel keys list` to see all ids.")
            self._mark(key_id, at)
            (keys[key_id],) = apply_revocations([keys[key_id]], {key_id: at})
            self._write(list(keys.values()))
        return keys[key_id]

    def _mark(self, key_id: str, at: float) -> None:
        if not re.fullmatch(KEY_ID, key_id):
            raise BadKeys(f"{key_id!r} is not a key id: expected the 12 letters and digits after rr_.")
        self._storage.write(f"{self._markers}/{key_id}.{math.floor(at * 1000)}", b"")

    def _write(self, keys: list[Key]) -> None:
        self._storage.write(self._path, dump_keys(keys))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold a lock on a local file; object stores have no locks."""
        if self._storage.is_local:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self._path}.lock") if self._storage.is_local else nullcontext():
            yield


class WatchedKeys:
    """The keys of a file, read again every `refresh_s`, so that changes take effect without a restart.

    If the file cannot be read, the last known keys remain valid, except for those revoked since. If it cannot be read
    after a restart, all requests are rejected. Belongs to one event loop.
    """

    def __init__(self, file: KeyFile, refresh_s: float) -> None:
        self._file, self._refresh_s = file, refresh_s
        self._content: bytes | None = None
        self._revoked: Revoked = {}
        self._keys: list[Key] | None = None
        self._ring: Keyring | None = None
        self._refreshed_at = -float("inf")
        self._refreshing: asyncio.Task[None] | None = None

    async def current(self) -> Keyring:
        """Return the current keys. Raises BadKeys if they could never be read."""
        age = time.monotonic() - self._refreshed_at
        if age > self._refresh_s:
            refreshing = self._refresh()
            # Object stores are slow: under load, requests use the current keys while they are refreshed in the
            # background. After a pause the keys may be outdated, so the first request waits.
            if self._ring is None or age > 5 * self._refresh_s:
                await asyncio.shield(refreshing)
        if self._ring is None:
            raise BadKeys("The API keys cannot be read. See the service's logs for the reason.")
        return self._ring

    def _refresh(self) -> asyncio.Task[None]:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._read())
        return self._refreshing

    async def _read(self) -> None:
        try:
            revoked = await asyncio.to_thread(self._file.revoked)
            content = await asyncio.to_thread(self._file.content)
            self._update(content, revoked)
        except (OSError, RayreelError):
            log.exception("the file of API keys cannot be read")
        self._refreshed_at = time.monotonic()

    def _update(self, content: bytes | None, revoked: Revoked) -> None:
        """Apply what was read. Revocations take effect even if the key file is damaged. Raises BadKeys."""
        if self._keys is not None and revoked != self._revoked:
            self._ring = Keyring(apply_revocations(self._keys, revoked))
        self._revoked = revoked
        if self._keys is None or content != self._content:
            self._keys, self._content = read_keys(content), content
            self._ring = Keyring(apply_revocations(self._keys, revoked))


def apply_revocations(keys: Sequence[Key], revoked: Revoked) -> list[Key]:
    """Return the keys, where a revoked key expires at its revocation unless it expires earlier."""
    ends = {key.id: math.inf if key.expires_at is None else key.expires_at for key in keys}
    return [
        key.model_copy(update={"expires_at": min(revoked[key.id], ends[key.id])}) if key.id in revoked else key
        for key in keys
    ]
