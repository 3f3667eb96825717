import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from milvus_lite.db import MilvusLite
from pymilvus import MilvusClient

from rayreel.index.build import IndexRow, build, switch_alias
from rayreel.index.config import IndexConfig, IndexUnavailable
from rayreel.index.connect import connect
from rayreel.index.embedded import NAMESPACE, embedded_address, owner_name, stop_embedded
from rayreel.index.search import VideoIndex


def owner_pid(data_dir: Path) -> int:
    owner = ray.get_actor(owner_name(data_dir), namespace=NAMESPACE)
    return ray.get(owner.__ray_call__.remote(lambda _: os.getpid()))


def test_a_killed_owner_returns_at_its_address_with_rows_and_alias(
    client: MilvusClient, data_dir: Path, config: IndexConfig, rows: list[IndexRow]
) -> None:
    build(client, 1, rows, config, expected=300)
    switch_alias(client, "videos", "videos_v1")
    address, killed = embedded_address(data_dir), owner_pid(data_dir)
    os.kill(killed, signal.SIGKILL)
    index = VideoIndex(client, config)
    assert len(index.search(rows[0].embedding, 10)) == 10
    assert (index.release(), index.count()) == (1, 300)
    assert embedded_address(data_dir) == address
    assert owner_pid(data_dir) != killed


def test_a_server_that_hangs_is_an_error_within_the_timeout(
    client: MilvusClient, data_dir: Path, config: IndexConfig, rows: list[IndexRow]
) -> None:
    build(client, 3, rows[:5], config, expected=5)
    impatient = VideoIndex(client, config.model_copy(update={"timeout_s": 0.5}), "videos_v3")
    pid = owner_pid(data_dir)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(IndexUnavailable, match=r"0\.5 s"):
            impatient.search(rows[0].embedding, 3)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert len(impatient.search(rows[0].embedding, 3)) == 3


def test_everyone_gets_the_same_owner_however_the_path_is_written(client: MilvusClient, data_dir: Path) -> None:
    assert embedded_address(data_dir / ".." / data_dir.name) == embedded_address(data_dir)


def test_another_directory_is_another_index(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], tmp_path: Path
) -> None:
    build(client, 2, rows, config, expected=300)
    other = connect(config, tmp_path)
    try:
        assert other.list_collections() == []
        build(other, 2, rows[:5], config, expected=5)
        assert VideoIndex(client, config, "videos_v2").count() == 300
    finally:
        stop_embedded(tmp_path)


def test_stopping_releases_the_directory_and_a_new_owner_finds_everything(
    ray_cluster: None, config: IndexConfig, rows: list[IndexRow], tmp_path: Path
) -> None:
    build(connect(config, tmp_path), 1, rows[:20], config, expected=20)
    stop_embedded(tmp_path)
    with MilvusLite(str(tmp_path)) as database:
        assert database.list_collections() == ["videos_v1"]
    try:
        assert len(VideoIndex(connect(config, tmp_path), config, "videos_v1").similar("v3", 7)) == 7
    finally:
        stop_embedded(tmp_path)


def test_a_directory_that_someone_else_holds_is_named_with_the_remedy(ray_cluster: None, tmp_path: Path) -> None:
    with (
        MilvusLite(str(tmp_path)),
        pytest.raises(IndexUnavailable, match=rf"(?s){tmp_path}.*another process holds the lock.*MILVUS_URI"),
    ):
        embedded_address(tmp_path)


def test_stopping_what_never_ran_does_nothing(ray_cluster: None, tmp_path: Path) -> None:
    stop_embedded(tmp_path)


def test_without_ray_the_error_says_how_to_start_it() -> None:
    code = "from pathlib import Path; from rayreel.index.embedded import embedded_address as a; a(Path('/tmp/x'))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "IndexUnavailable" in run.stderr
    assert "ray.init()" in run.stderr


def test_an_unreachable_server_is_named_without_its_password(tmp_path: Path) -> None:
    config = IndexConfig(uri="http://root:hunter2@127.0.0.1:9", timeout_s=1)
    with pytest.raises(IndexUnavailable, match=r"http://127\.0\.0\.1:9") as caught:
        connect(config, tmp_path)
    assert "hunter2" not in str(caught.value)


def test_an_address_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailable, match="MILVUS_URI"):
        connect(IndexConfig(uri="milvus:19530", timeout_s=60), tmp_path)
