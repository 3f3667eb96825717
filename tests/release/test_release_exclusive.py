from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from rayreel.release.exclusive import NoExclusiveWrites, create, prove_exclusive
from rayreel.storage import Storage

only_s3 = pytest.mark.parametrize("any_storage", ["object store"], indirect=True)


def test_a_file_is_created_once_and_keeps_its_first_content(any_storage: Storage) -> None:
    path = any_storage.path("releases", "leases", "x", "1.json")
    any_storage.filesystem.create_dir(any_storage.path("releases"), recursive=True)
    assert create(any_storage, path, b"first")
    assert not create(any_storage, path, b"second")
    assert any_storage.read(path) == b"first"
    prove_exclusive(any_storage, path)
    assert any_storage.read(path) == b"first"


@only_s3
def test_a_retried_request_recognises_its_own_file(any_storage: Storage) -> None:
    path = any_storage.path("releases", "1.json")
    any_storage.filesystem.create_dir(any_storage.path("releases"), recursive=True)
    assert create(any_storage, path, b"mine")
    assert create(any_storage, path, b"mine")


def test_exactly_one_of_many_concurrent_calls_creates_the_file(tmp_path: Path) -> None:
    # In a folder, because the test's S3 server checks and writes in two steps.
    storage, together = Storage(tmp_path), Barrier(8)
    path = storage.path("releases", "1.json")

    def race(number: int) -> bool:
        together.wait()
        return create(storage, path, str(number).encode())

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    assert won.count(True) == 1 and storage.read(path) == str(won.index(True)).encode()


@only_s3
def test_an_object_store_without_conditional_writes_is_refused(any_storage: Storage) -> None:
    any_storage.filesystem.create_dir(any_storage.path("releases"), recursive=True)
    with pytest.raises(NoExclusiveWrites, match="If-None-Match"):
        prove_exclusive(any_storage, any_storage.path("releases", "nothing is there"))
