"""Atomic file writes that survive errors, kills and full disks."""

import errno
import fcntl
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rayreel.durable import StorageFull, full_disk, replacing, sweep

MEGABYTE = 1 << 20


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_content_and_name_are_synced_to_disk_before_the_old_file_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "folder" / "a.json"
    synced: list[tuple[str, bool]] = []
    force = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), path.exists()))
        force(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(path) as file:
        file.write(b"whole")
    names = [(Path(name).name.partition(".json.")[0], renamed) for name, renamed in synced]
    assert names == [(tmp_path.name, False), ("new", False), ("a", False), ("folder", True)]


def test_an_error_while_writing_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), replacing(path) as file:
        file.write(b"ne")
        raise KeyError
    assert (path.read_bytes(), left(tmp_path)) == (b"old", ["a.json"])


def test_a_full_disk_reports_path_and_space_and_leaves_the_old_file(small_disk: Path) -> None:
    path = small_disk / "a.parquet"
    path.write_bytes(b"old")
    with pytest.raises(StorageFull) as failed, replacing(path, 2 * MEGABYTE) as file:
        file.write(bytes(2 * MEGABYTE))
    message = str(failed.value)
    assert message.startswith(f"{path}: the disk is full.") and "2,097,152 bytes are needed" in message
    free = int(message.split("disk is full. ")[1].split(" bytes", maxsplit=1)[0].replace(",", ""))
    assert 0.9 * MEGABYTE < free < MEGABYTE, "measured after the partial file was deleted"
    assert (path.read_bytes(), left(small_disk)) == (b"old", ["a.parquet"])


def test_a_folder_that_cannot_be_created_on_a_full_disk_raises_storage_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(StorageFull, match="new/a: the disk is full"), replacing(tmp_path / "new" / "a"):
        pass


def test_the_sweep_deletes_files_of_killed_writers_but_not_files_being_written(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from rayreel.durable import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'x'); file.flush(); print('writing', flush=True); sys.stdin.read(); os._exit(9)"
    )
    path = tmp_path / "deep" / "a.parquet"
    writer = subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
    (partial,) = path.parent.iterdir()
    long_ago = time.time() - 60
    os.utime(partial, (long_ago, long_ago))
    assert sweep(tmp_path) == [] and partial.exists()
    writer.communicate()
    assert sweep(tmp_path) == [partial] and left(path.parent) == []


def test_a_file_system_without_locks_can_be_written_and_is_never_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    with replacing(tmp_path / "a") as file:
        file.write(b"whole")
    (tmp_path / "b.0.partial").write_bytes(b"may be in use")
    os.utime(tmp_path / "b.0.partial", (0, 0))
    assert (sweep(tmp_path), left(tmp_path)) == ([], ["a", "b.0.partial"])


def test_a_full_disk_is_found_as_the_cause_of_other_errors(small_disk: Path) -> None:
    try:
        try:
            (small_disk / "checkpoint").write_bytes(bytes(2 * MEGABYTE))
        except OSError as error:
            error.filename = str(small_disk / "checkpoint")
            raise RuntimeError("a worker failed") from error
    except RuntimeError as error:
        found = full_disk(error)
    assert found is not None and str(small_disk / "checkpoint") in str(found)


def test_a_database_error_on_a_full_disk_is_recognised(small_disk: Path) -> None:
    database = sqlite3.connect(small_disk / "mlflow.db")
    with pytest.raises(sqlite3.OperationalError) as failed:
        database.execute("create table t as select zeroblob(2000000) as b")
    found = full_disk(failed.value)
    assert found is not None and "SQLite" in str(found)
    database.close()


def test_other_errors_are_not_a_full_disk() -> None:
    assert full_disk(RuntimeError("no")) is None
    assert full_disk(PermissionError(errno.EACCES, "no")) is None
