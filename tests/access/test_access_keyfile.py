"""The file of API keys while a service is running."""

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


async def is_valid(keys: WatchedKeys, text: str) -> bool:
    return (await keys.current()).check(text, time.time()) is not None


def test_new_and_revoked_keys_take_effect_without_a_restart(file: KeyFile) -> None:
    async def rotate() -> None:
        (old, old_key), (new, new_key_) = new_key("a", Scope.READ), new_key("a", Scope.READ)
        watched = WatchedKeys(file, refresh_s=0)
        assert not await is_valid(watched, old)
        file.add(old_key)
        assert await is_valid(watched, old)
        file.add(new_key_)
        file.expire(old_key.id, time.time())
        assert await is_valid(watched, new) and not await is_valid(watched, old)

    asyncio.run(rotate())


def test_the_file_is_read_periodically_and_not_for_each_request(file: KeyFile) -> None:
    async def check() -> None:
        text, key = new_key("a", Scope.READ)
        watched = WatchedKeys(file, refresh_s=3600)
        await watched.current()
        file.add(key)
        assert not await is_valid(watched, text)

    asyncio.run(check())


def test_after_a_pause_a_key_revoked_in_the_meantime_is_rejected(file: KeyFile) -> None:
    async def pause() -> None:
        text, key = new_key("a", Scope.READ)
        file.add(key)
        watched = WatchedKeys(file, refresh_s=0.01)
        assert await is_valid(watched, text)
        file.expire(key.id, time.time())
        await asyncio.sleep(0.1)
        assert not await is_valid(watched, text)

    asyncio.run(pause())


def test_keys_remain_valid_if_the_file_is_damaged_while_the_service_is_running(file: KeyFile, tmp_path: Path) -> None:
    async def damage() -> None:
        text, key = new_key("a", Scope.READ)
        file.add(key)
        watched = WatchedKeys(file, refresh_s=0)
        assert await is_valid(watched, text)
        (tmp_path / "access" / "keys.json").write_text("[{")
        assert await is_valid(watched, text)

    asyncio.run(damage())


def test_all_keys_are_rejected_if_the_file_could_never_be_read(file: KeyFile, tmp_path: Path) -> None:
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
        assert await is_valid(watched, text)
        if order.startswith("revoked"):
            file.expire(key.id, time.time())  # and damaged before the service reads it again
            path.write_bytes(damage)
        else:
            path.write_bytes(damage)
            with pytest.raises(BadKeys, match=f"{key.id} is revoked.*damaged"):
                file.expire(key.id, time.time())
        assert not await is_valid(watched, text) and await is_valid(watched, other)
        with pytest.raises(BadKeys):  # after a restart all keys are rejected
            await WatchedKeys(file, refresh_s=0).current()

    asyncio.run(attack())


def test_an_old_copy_of_the_file_does_not_make_a_revoked_key_valid_again(file: KeyFile, path: Path) -> None:
    async def restore() -> None:
        text, key = new_key("a", Scope.READ)
        file.add(key)
        old = path.read_bytes()
        watched = WatchedKeys(file, refresh_s=0)
        assert await is_valid(watched, text)
        file.expire(key.id, time.time())
        path.write_bytes(old)
        assert not await is_valid(watched, text)
        assert not await is_valid(WatchedKeys(file, refresh_s=0), text)
        file.add(new_key("b", Scope.READ)[1])
        assert not await is_valid(WatchedKeys(file, refresh_s=0), text)

    asyncio.run(restore())


def test_a_service_started_after_the_file_was_deleted_rejects_all_keys(file: KeyFile, path: Path) -> None:
    text, key = new_key("a", Scope.READ)
    file.add(key)
    path.unlink()
    assert not asyncio.run(is_valid(WatchedKeys(file, 0), text))


def test_a_key_expires_at_the_earliest_of_several_times(file: KeyFile, path: Path) -> None:
    _, key = new_key("a", Scope.READ)
    file.add(key)
    old = path.read_bytes()
    for at in (5000.0, 3000.0, 4000.0):
        file.expire(key.id, at)
    path.write_bytes(old)
    assert [known.expires_at for known in file.read()] == [3000.0]


@pytest.mark.parametrize("key_id", ["../../keys", "", "a" * 13])
def test_an_invalid_key_id_creates_no_marker(file: KeyFile, path: Path, key_id: str) -> None:
    file.add(new_key("a", Scope.READ)[1])
    path.write_bytes(b"[{")
    with pytest.raises(BadKeys, match="not a key id"):
        file.expire(key_id, 0)
    assert not list(path.parent.rglob("*revoked*"))


def test_a_revocation_cannot_extend_a_key(file: KeyFile) -> None:
    _, key = new_key("a", Scope.READ, expires_at=1000.0)
    file.add(key)
    assert file.expire(key.id, 2000.0).expires_at == 1000.0
    assert file.expire(key.id, 500.0).expires_at == 500.0


def test_an_unknown_key_cannot_be_revoked(file: KeyFile) -> None:
    with pytest.raises(BadKeys, match="No key with the id 'x'"):
        file.expire("x", 0)


def test_keys_added_concurrently_are_all_stored(file: KeyFile) -> None:
    threads = [threading.Thread(target=lambda: file.add(new_key("a", Scope.READ)[1])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.read()) == 8


def test_the_file_may_be_outside_the_storage(tmp_path: Path) -> None:
    KeyFile(Storage(tmp_path / "a"), str(tmp_path / "b" / "own.json")).add(new_key("a", Scope.READ)[1])
    assert (tmp_path / "b" / "own.json").exists() and not (tmp_path / "a").exists()


def test_revocations_are_next_to_the_file_wherever_it_is(tmp_path: Path) -> None:
    file = KeyFile(Storage(tmp_path / "a"), str(tmp_path / "b" / "own.json"))
    _, key = new_key("a", Scope.READ)
    file.add(key)
    file.expire(key.id, 1000.0)
    assert [path.name for path in (tmp_path / "b" / "own.revoked").iterdir()] == [f"{key.id}.1000000"]


def test_keys_and_revocations_work_in_an_object_store(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    place = Storage(f"s3://access/state?endpoint_override={s3}&scheme=http&allow_bucket_creation=true")
    file = KeyFile(place)
    text, key = new_key("a", Scope.READ)
    file.add(key)
    watched = WatchedKeys(file, refresh_s=0)
    assert asyncio.run(is_valid(watched, text))
    file.expire(key.id, time.time())
    place.write(place.path("access", "keys.json"), b"[{")
    assert not asyncio.run(is_valid(watched, text))
