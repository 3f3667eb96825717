"""The file of keys while a service runs."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from rayreel.access.keyfile import KeyFile, WatchedKeys
from rayreel.access.keys import BadKeys, Scope, new_key
from rayreel.storage import Storage


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(Storage(tmp_path))


async def counts(keys: WatchedKeys, text: str) -> bool:
    return (await keys.current()).check(text, time.time()) is not None


def test_a_new_key_counts_and_a_revoked_one_does_not_without_a_restart(file: KeyFile) -> None:
    async def rotate() -> None:
        (old, old_key), (new, new_key_) = new_key("a", Scope.READ), new_key("a", Scope.READ)
        watched = WatchedKeys(file, refresh_s=0)
        assert not await counts(watched, old)
        file.add(old_key)
        assert await counts(watched, old)
        file.add(new_key_)
        file.expire(old_key.id, time.time())
        assert await counts(watched, new) and not await counts(watched, old)

    asyncio.run(rotate())


def test_the_file_is_read_once_in_a_while_and_not_for_each_request(file: KeyFile) -> None:
    async def ask() -> None:
        text, key = new_key("a", Scope.READ)
        watched = WatchedKeys(file, refresh_s=3600)
        await watched.current()
        file.add(key)
        assert not await counts(watched, text)

    asyncio.run(ask())


def test_after_a_pause_nobody_gets_in_with_a_key_revoked_meanwhile(file: KeyFile) -> None:
    async def pause() -> None:
        text, key = new_key("a", Scope.READ)
        file.add(key)
        watched = WatchedKeys(file, refresh_s=0.01)
        assert await counts(watched, text)
        file.expire(key.id, time.time())
        await asyncio.sleep(0.1)
        assert not await counts(watched, text)

    asyncio.run(pause())


def test_a_file_damaged_while_the_service_runs_locks_nobody_out(file: KeyFile, tmp_path: Path) -> None:
    async def damage() -> None:
        text, key = new_key("a", Scope.READ)
        file.add(key)
        watched = WatchedKeys(file, refresh_s=0)
        assert await counts(watched, text)
        (tmp_path / "access" / "keys.json").write_text("[{")
        assert await counts(watched, text)

    asyncio.run(damage())


def test_a_file_that_could_never_be_read_lets_nobody_in(file: KeyFile, tmp_path: Path) -> None:
    (tmp_path / "access").mkdir()
    (tmp_path / "access" / "keys.json").write_text("[{")
    with pytest.raises(BadKeys):
        asyncio.run(WatchedKeys(file, 0).current())


def test_a_key_made_to_end_later_than_it_would_ends_when_it_would(file: KeyFile) -> None:
    _, key = new_key("a", Scope.READ, expires_at=1000.0)
    file.add(key)
    assert file.expire(key.id, 2000.0).expires_at == 1000.0
    assert file.expire(key.id, 500.0).expires_at == 500.0


def test_an_unknown_key_cannot_be_revoked(file: KeyFile) -> None:
    with pytest.raises(BadKeys, match="no key 'x'"):
        file.expire("x", 0)


def test_keys_made_at_the_same_time_are_all_kept(file: KeyFile) -> None:
    makers = [threading.Thread(target=lambda: file.add(new_key("a", Scope.READ)[1])) for _ in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(file.read()) == 8


def test_the_file_may_lie_elsewhere(tmp_path: Path) -> None:
    KeyFile(Storage(tmp_path / "a"), str(tmp_path / "b" / "own.json")).add(new_key("a", Scope.READ)[1])
    assert (tmp_path / "b" / "own.json").exists() and not (tmp_path / "a").exists()
