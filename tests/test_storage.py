import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rayreel.errors import RayreelError
from rayreel.storage import Storage

BUCKET = "s3://bucket/prefix?region=eu-west-1"  # the region is named, so that nobody asks the network for it


@pytest.fixture(params=["folder", "file uri", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    roots = {
        "folder": tmp_path / "root",
        "file uri": f"file://{tmp_path}/root/",
        "object store": "mock:///bucket/prefix",
    }
    return Storage(roots[request.param])


def test_what_was_written_can_be_read_and_written_again(storage: Storage) -> None:
    path = storage.path("a", "b", "c.json")
    storage.write(path, b"first")
    assert storage.read(path) == b"first"
    storage.write(path, b"2nd")
    assert storage.read(path) == b"2nd"


def test_what_is_not_there_reads_as_none(storage: Storage) -> None:
    assert storage.read(storage.path("nothing")) is None
    assert not storage.exists(storage.path("nothing"))


def test_files_and_folders_directly_below_a_folder_are_listed_in_order(storage: Storage) -> None:
    for name in ("b.parquet", "a.parquet", "a.json", "deeper/c.parquet", "another/d.parquet"):
        storage.write(storage.path("x", *name.split("/")), b"1")
    assert storage.files(storage.path("x"), ".parquet") == [storage.path("x", n) for n in ("a.parquet", "b.parquet")]
    assert storage.folders(storage.path("x")) == ["another", "deeper"]


def test_a_folder_that_is_not_there_lists_as_empty(storage: Storage) -> None:
    assert storage.files(storage.path("nothing"), "") == []
    assert storage.folders(storage.path("nothing")) == []


def test_no_half_written_file_is_left_beside_a_finished_one(storage: Storage) -> None:
    storage.write(storage.path("x", "a.json"), b"whole")
    assert storage.files(storage.path("x"), "") == [storage.path("x", "a.json")]


def test_a_write_that_breaks_off_leaves_the_old_file_whole(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write(storage.path("x", "a.json"), b"old")
    with pytest.raises(TypeError):
        storage.write(storage.path("x", "a.json"), "no bytes")  # type: ignore[arg-type]
    assert storage.read(storage.path("x", "a.json")) == b"old"
    assert storage.files(storage.path("x"), ".json") == [storage.path("x", "a.json")]


def test_a_relative_root_is_a_folder_here_whatever_becomes_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("storage")
    monkeypatch.chdir("/")
    assert storage.uri("x") == storage.path("x") == str(tmp_path / "storage" / "x")


def test_a_root_below_home_can_be_written_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Storage("~/videos").path("x") == str(tmp_path / "videos" / "x")


def test_a_root_may_hold_spaces_and_signs(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "a b#c%20=?d")
    storage.write(storage.path("x"), b"1")
    assert (tmp_path / "a b#c%20=?d" / "x").read_bytes() == b"1"
    assert storage.uri("x") == str(tmp_path / "a b#c%20=?d" / "x")


def test_parts_that_need_a_folder_get_one_on_a_local_root(tmp_path: Path) -> None:
    assert Storage(tmp_path).local("mlflow", what="MLflow") == tmp_path / "mlflow"
    assert Storage(f"file://{tmp_path}").local("mlflow", what="MLflow") == tmp_path / "mlflow"


def test_parts_that_need_a_folder_say_so_on_an_object_store() -> None:
    with pytest.raises(RayreelError, match=r"MLflow needs a local folder, but --storage is s3://bucket/prefix"):
        Storage(BUCKET).local("mlflow", what="MLflow")


def test_an_object_stores_options_stay_behind_the_path() -> None:
    storage = Storage(BUCKET)
    assert not storage.is_local
    assert storage.path("x", "y") == "bucket/prefix/x/y"
    assert storage.uri("x", "y") == "s3://bucket/prefix/x/y?region=eu-west-1"


def test_a_root_of_unknown_kind_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RayreelError, match=r"--storage ftp://host/x.*s3://bucket/prefix"):
        Storage("ftp://host/x")


def test_a_storage_travels_to_other_processes(tmp_path: Path) -> None:
    again = pickle.loads(pickle.dumps(Storage(tmp_path)))
    again.write(again.path("x"), b"1")
    assert (tmp_path / "x").read_bytes() == b"1"


def test_two_may_write_one_file_at_once(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    path = storage.path("state", "marker.json")
    contents = [bytes([65 + n]) * 20_000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: [storage.write(path, content) for _ in range(50)], contents))
    assert storage.read(path) in contents
    assert [entry.name for entry in (tmp_path / "state").iterdir()] == ["marker.json"]
