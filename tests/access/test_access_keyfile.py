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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access" / "keys.json"


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


DAMAGE = {"cut off": b"[{", "empty": b"", "of another kind": b"null", "with a fault": b'[{"id": 1}]'}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("order", ["revoked, then damaged", "damaged, then revoked"])
def test_a_revocation_holds_while_the_file_is_damaged(file: KeyFile, path: Path, damage: bytes, order: str) -> None:
    async def attack() -> None:
        (text, key), (other, other_key) = new_key("a", Scope.READ), new_key("b", Scope.READ)
        file.add(key)
        file.add(other_key)
        watched = WatchedKeys(file, refresh_s=0)
        assert await counts(watched, text)
        if order.startswith("revoked"):
            file.expire(key.id, time.time())  # and damaged before the service looks again
            path.write_bytes(damage)
        else:
            path.write_bytes(damage)
            with pytest.raises(BadKeys, match=f"{key.id} is revoked.*damaged"):
                file.expire(key.id, time.time())
        assert not await counts(watched, text) and await counts(watched, other)
        with pytest.raises(BadKeys):  # a restart lets nobody in
            await WatchedKeys(file, refresh_s=0).current()

    asyncio.run(attack())


def test_an_old_copy_of_the_file_brings_no_revoked_key_back(file: KeyFile, path: Path) -> None:
    async def restore() -> None:
        text, key = new_key("a", Scope.READ)
        file.add(key)
        old = path.read_bytes()
        watched = WatchedKeys(file, refresh_s=0)
        assert await counts(watched, text)
        file.expire(key.id, time.time())
        path.write_bytes(old)
        assert not await counts(watched, text)
        assert not await counts(WatchedKeys(file, refresh_s=0), text)
        file.add(new_key("b", Scope.READ)[1])
        assert not await counts(WatchedKeys(file, refresh_s=0), text)

    asyncio.run(restore())


def test_a_service_that_comes_after_the_file_is_deleted_lets_nobody_in(file: KeyFile, path: Path) -> None:
    text, key = new_key("a", Scope.READ)
    file.add(key)
    path.unlink()
    assert not asyncio.run(counts(WatchedKeys(file, 0), text))


def test_a_rotation_ends_at_its_time_and_at_the_first_of_several(file: KeyFile, path: Path) -> None:
    _, key = new_key("a", Scope.READ)
    file.add(key)
    old = path.read_bytes()
    for at in (5000.0, 3000.0, 4000.0):
        file.expire(key.id, at)
    path.write_bytes(old)
    assert [known.expires_at for known in file.read()] == [3000.0]


@pytest.mark.parametrize("key_id", ["../../keys", "", "a" * 13])
def test_what_is_no_id_makes_no_marker(file: KeyFile, path: Path, key_id: str) -> None:
    file.add(new_key("a", Scope.READ)[1])
    path.write_bytes(b"[{")
    with pytest.raises(BadKeys, match="no id of a key"):
        file.expire(key_id, 0)
    assert not list(path.parent.rglob("*revoked*"))


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


def test_revocations_lie_beside_the_file_wherever_it_lies(tmp_path: Path) -> None:
    file = KeyFile(Storage(tmp_path / "a"), str(tmp_path / "b" / "own.json"))
    _, key = new_key("a", Scope.READ)
    file.add(key)
    file.expire(key.id, 1000.0)
    assert [path.name for path in (tmp_path / "b" / "own.revoked").iterdir()] == [f"{key.id}.1000000"]


def test_keys_and_revocations_may_lie_in_an_object_store(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    place = Storage(f"s3://access/state?endpoint_override={s3}&scheme=http&allow_bucket_creation=true")
    file = KeyFile(place)
    text, key = new_key("a", Scope.READ)
    file.add(key)
    watched = WatchedKeys(file, refresh_s=0)
    assert asyncio.run(counts(watched, text))
    file.expire(key.id, time.time())
    place.write(place.path("access", "keys.json"), b"[{")
    assert not asyncio.run(counts(watched, text))
