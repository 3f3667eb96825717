import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rayreel.errors import RayreelError
from rayreel.storage import Storage

BUCKET = "s3://bucket/prefix?region=eu-west-1"  # with a region, so that it is not looked up over the network


@pytest.fixture(params=["folder", "file uri", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    roots: dict[str, str | Path] = {
        "folder": tmp_path / "root",
        "file uri": f"file://{tmp_path}/root/",
        "object store": "mock:///bucket/prefix",
    }
    return Storage(roots[request.param])


def test_a_file_can_be_written_read_and_overwritten(storage: Storage) -> None:
    path = storage.path("a", "b", "c.json")
    storage.write(path, b"first")
    assert storage.read(path) == b"first"
    storage.write(path, b"2nd")
    assert storage.read(path) == b"2nd"


def test_reading_a_missing_file_returns_none(storage: Storage) -> None:
    assert storage.read(storage.path("nothing")) is None
    assert not storage.exists(storage.path("nothing"))


def test_files_and_folders_directly_below_a_folder_are_listed_in_order(storage: Storage) -> None:
    for name in ("b.parquet", "a.parquet", "a.json", "deeper/c.parquet", "another/d.parquet"):
        storage.write(storage.path("x", *name.split("/")), b"1")
    assert storage.files(storage.path("x"), ".parquet") == [storage.path("x", n) for n in ("a.parquet", "b.parquet")]
    assert storage.folders(storage.path("x")) == ["another", "deeper"]


def test_a_missing_folder_lists_as_empty(storage: Storage) -> None:
    assert storage.files(storage.path("nothing"), "") == []
    assert storage.folders(storage.path("nothing")) == []


def test_no_partial_file_is_left_next_to_a_finished_one(storage: Storage) -> None:
    storage.write(storage.path("x", "a.json"), b"whole")
    assert storage.files(storage.path("x"), "") == [storage.path("x", "a.json")]


def test_a_failed_write_leaves_the_old_file_intact(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write(storage.path("x", "a.json"), b"old")
    with pytest.raises(TypeError):
        storage.write(storage.path("x", "a.json"), "no bytes")  # type: ignore[arg-type] # what this test tries
    assert storage.read(storage.path("x", "a.json")) == b"old"
    assert storage.files(storage.path("x"), ".json") == [storage.path("x", "a.json")]


def test_a_relative_root_is_resolved_once_and_does_not_follow_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("storage")
    monkeypatch.chdir("/")
    assert storage.uri("x") == storage.path("x") == str(tmp_path / "storage" / "x")


def test_a_tilde_in_the_root_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Storage("~/videos").path("x") == str(tmp_path / "videos" / "x")


def test_a_root_can_contain_spaces_and_special_characters(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "a b#c%20=?d")
    storage.write(storage.path("x"), b"1")
    assert (tmp_path / "a b#c%20=?d" / "x").read_bytes() == b"1"
    assert storage.uri("x") == str(tmp_path / "a b#c%20=?d" / "x")


def test_a_local_root_provides_local_folders(tmp_path: Path) -> None:
    assert Storage(tmp_path).local("mlflow", what="MLflow") == tmp_path / "mlflow"
    assert Storage(f"file://{tmp_path}").local("mlflow", what="MLflow") == tmp_path / "mlflow"


def test_an_object_store_has_no_local_folders() -> None:
    with pytest.raises(RayreelError, match=r"MLflow needs a local folder, but --storage is s3://bucket/prefix"):
        Storage(BUCKET).local("mlflow", what="MLflow")


def test_the_options_of_an_object_store_stay_at_the_end_of_uris() -> None:
    storage = Storage(BUCKET)
    assert not storage.is_local
    assert storage.path("x", "y") == "bucket/prefix/x/y"
    assert storage.uri("x", "y") == "s3://bucket/prefix/x/y?region=eu-west-1"


def test_a_root_with_an_unknown_scheme_is_reported_with_the_known_ones() -> None:
    with pytest.raises(RayreelError, match=r"--storage ftp://host/x.*s3://bucket/prefix"):
        Storage("ftp://host/x")


def test_a_storage_can_be_pickled(tmp_path: Path) -> None:
    again = pickle.loads(pickle.dumps(Storage(tmp_path)))
    again.write(again.path("x"), b"1")
    assert (tmp_path / "x").read_bytes() == b"1"


def test_a_file_can_be_written_concurrently(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    path = storage.path("state", "marker.json")
    contents = [bytes([65 + n]) * 20_000 for n in range(8)]

    def write_often(content: bytes) -> None:
        for _ in range(50):
            storage.write(path, content)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_often, contents))
    assert storage.read(path) in contents
    assert [entry.name for entry in (tmp_path / "state").iterdir()] == ["marker.json"]
