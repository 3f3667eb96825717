"""Parquet parts: damage is detected and reported, and numbers define the order."""

from pathlib import Path

import pyarrow as pa
import pytest

from rayreel.parts import NumberedParts, broken_files, parquet_bytes, read_part, set_aside
from rayreel.storage import BrokenFile, Storage

TABLE = pa.table({"video_id": ["a", "b"], "n": list(range(2))})


def damaged(kind: str) -> bytes:
    content = parquet_bytes(pa.table({"n": pa.array(range(5000)), "text": [f"film {n * 7919}" for n in range(5000)]}))
    middle = len(content) // 2
    return {
        "empty": b"",
        "cut off": content[:middle],
        "tail of zeros": content[:middle] + bytes(len(content) - middle),
        "a flipped bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "something else": b"<html>not found</html>",
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "cut off", "tail of zeros", "a flipped bit", "something else"])
def test_a_damaged_part_is_reported_and_not_read(any_storage: Storage, kind: str) -> None:
    path = any_storage.path("features", "key", "part-1.parquet")
    any_storage.write(path, damaged(kind))
    with pytest.raises(BrokenFile, match=r"part-1\.parquet is broken: .*rayreel index --verify") as failed:
        read_part(any_storage, path)
    assert failed.value.path == path
    assert [file.path for file in broken_files(any_storage)] == [path]


def test_an_intact_part_is_read_and_a_missing_one_raises_file_not_found(any_storage: Storage) -> None:
    path = any_storage.path("features", "part.parquet")
    any_storage.write(path, parquet_bytes(TABLE))
    assert read_part(any_storage, path).equals(TABLE)
    assert read_part(any_storage, path, ["n"]).column_names == ["n"]
    with pytest.raises(FileNotFoundError):
        read_part(any_storage, any_storage.path("features", "other.parquet"))
    assert list(broken_files(any_storage)) == []


def test_broken_json_is_found_and_a_file_set_aside_is_kept_but_skipped(any_storage: Storage) -> None:
    path = any_storage.path("releases", "v1", "snapshot.json")
    any_storage.write(path, b"")
    any_storage.write(any_storage.path("releases", "v1", "index.json"), b"{}")
    (broken,) = broken_files(any_storage)
    set_aside(any_storage, broken)
    set_aside(any_storage, broken)
    assert any_storage.read_json(path) is None and any_storage.read(f"{path}.broken") == b""


def test_the_number_of_a_part_set_aside_is_not_reused(any_storage: Storage) -> None:
    parts = NumberedParts(any_storage, any_storage.path("releases", "v1", "rows"))
    parts.add(TABLE)
    second = parts.add(TABLE)
    any_storage.write(parts.path(second), b"")
    with pytest.raises(BrokenFile) as failed:
        parts.read(second)
    set_aside(any_storage, failed.value)
    third = parts.add(TABLE)
    assert parts.names(after=second) == [third], "a reader that has read the second part finds the third"


def test_a_merge_takes_the_number_of_the_last_part(tmp_path: Path) -> None:
    parts = NumberedParts(Storage(tmp_path), str(tmp_path / "rows"))
    first, second, third = (parts.add(TABLE.slice(n % 2, 1)) for n in range(3))
    parts.merge([first, second], TABLE)
    merged, last = parts.names()
    assert (parts.names(after=first), parts.names(after=second), last) == ([merged, third], [third], third)
    assert parts.read(merged).equals(TABLE)
