import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from milvus_lite.db import MilvusLite
from pydantic import SecretStr
from pymilvus import MilvusClient

from index_filling import DIM
from milvus_behind_tls import SERVER_NAME, TOKEN, serve_behind_tls
from rayreel.index.alias import switch_alias
from rayreel.index.config import IndexConfig, IndexUnavailable
from rayreel.index.connect import connect
from rayreel.index.embedded import NAMESPACE, embedded_address, owner_name, stop_embedded
from rayreel.index.retry import call_milvus
from rayreel.index.search import VideoIndex
from rayreel.index.write import IndexRow, create_collection, make_searchable, stored_versions, upsert


def fill(client: MilvusClient, version: int, rows: list[IndexRow], config: IndexConfig) -> None:
    create_collection(client, f"videos_v{version}", DIM, config)
    upsert(client, f"videos_v{version}", rows, config)
    make_searchable(client, f"videos_v{version}", config)


def owner_pid(data_dir: Path) -> int:
    owner = ray.get_actor(owner_name(data_dir), namespace=NAMESPACE)
    return int(ray.get(owner.__ray_call__.remote(lambda _: os.getpid())))


def pause(pid: int) -> None:
    """Stop a process and wait until each of its threads has stopped, which takes a moment."""
    os.kill(pid, signal.SIGSTOP)
    while any(
        stat.read_text().rpartition(")")[2].split()[0] != "T" for stat in Path(f"/proc/{pid}/task").glob("*/stat")
    ):
        time.sleep(0.01)


def test_a_killed_owner_restarts_at_its_address_with_rows_and_alias(
    embedded: MilvusClient, data_dir: Path, plain: IndexConfig, rows: list[IndexRow]
) -> None:
    fill(embedded, 1, rows, plain)
    switch_alias(embedded, plain.alias, "videos_v1")
    address, killed = embedded_address(data_dir), owner_pid(data_dir)
    os.kill(killed, signal.SIGKILL)
    index = VideoIndex(embedded, plain)
    assert len(index.search(rows[0].embedding, 10)) == 10
    assert (index.collection(), index.count()) == ("videos_v1", 300)
    assert embedded_address(data_dir) == address
    assert owner_pid(data_dir) != killed


@pytest.mark.slow
def test_kills_during_upserts_lose_no_acknowledged_row_and_fail_no_upsert(
    embedded: MilvusClient, data_dir: Path, plain: IndexConfig, rows: list[IndexRow]
) -> None:
    fill(embedded, 4, [], plain)
    acknowledged: list[str] = []

    def add(writer: int) -> None:
        for n in range(40):
            batch = [replace(row, video_id=f"{writer}-{n}-{row.video_id}") for row in rows[:20]]
            upsert(embedded, "videos_v4", batch, plain)
            acknowledged.extend(row.video_id for row in batch)
            if n % 8 == 7:
                call_milvus(60, embedded.flush, "videos_v4", timeout=60)

    with ThreadPoolExecutor(3) as pool:
        adding = [pool.submit(add, writer) for writer in range(3)]
        for kill_after in (100, 900, 1500):
            while len(acknowledged) < kill_after and not all(one.done() for one in adding):
                time.sleep(0.001)
            before = list(acknowledged)
            os.kill(owner_pid(data_dir), signal.SIGKILL)
            assert stored_versions(embedded, "videos_v4", plain).keys() >= set(before)
        for one in adding:
            one.result()
    assert stored_versions(embedded, "videos_v4", plain).keys() == set(acknowledged)
    assert len(acknowledged) == 2400


def test_a_hanging_server_raises_an_error_within_the_timeout(
    embedded: MilvusClient, data_dir: Path, plain: IndexConfig, rows: list[IndexRow]
) -> None:
    fill(embedded, 3, rows[:5], plain)
    impatient = VideoIndex(embedded, plain.model_copy(update={"timeout_s": 0.5}), "videos_v3")
    pid = owner_pid(data_dir)
    pause(pid)
    try:
        with pytest.raises(IndexUnavailable, match=r"0\.5 s"):
            impatient.search(rows[0].embedding, 3)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert len(impatient.search(rows[0].embedding, 3)) == 3


def test_different_spellings_of_a_path_have_the_same_owner(embedded: MilvusClient, data_dir: Path) -> None:
    assert embedded_address(data_dir / ".." / data_dir.name) == embedded_address(data_dir)


def test_different_directories_are_different_indexes(
    embedded: MilvusClient, plain: IndexConfig, rows: list[IndexRow], tmp_path: Path
) -> None:
    fill(embedded, 2, rows, plain)
    other = connect(plain, tmp_path)
    try:
        assert other.list_collections() == []
        fill(other, 2, rows[:5], plain)
        assert VideoIndex(embedded, plain, "videos_v2").count() == 300
    finally:
        stop_embedded(tmp_path)


def test_stopping_releases_the_directory_and_a_new_owner_has_all_data(
    ray_cluster: None, plain: IndexConfig, rows: list[IndexRow], tmp_path: Path
) -> None:
    fill(connect(plain, tmp_path), 1, rows[:20], plain)
    stop_embedded(tmp_path)
    with MilvusLite(str(tmp_path)) as database:
        assert database.list_collections() == ["videos_v1"]
    try:
        assert len(VideoIndex(connect(plain, tmp_path), plain, "videos_v1").search(rows[3].embedding, 7)) == 7
    finally:
        stop_embedded(tmp_path)


def test_a_locked_directory_is_reported_with_a_remedy(ray_cluster: None, tmp_path: Path) -> None:
    with (
        MilvusLite(str(tmp_path)),
        pytest.raises(IndexUnavailable, match=rf"(?s){tmp_path}.*another process holds the lock.*MILVUS_URI"),
    ):
        embedded_address(tmp_path)


def test_stopping_without_an_owner_does_nothing(ray_cluster: None, tmp_path: Path) -> None:
    stop_embedded(tmp_path)


def test_without_ray_the_error_explains_how_to_start_it() -> None:
    code = "from pathlib import Path; from rayreel.index.embedded import embedded_address as a; a(Path('/tmp/x'))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "IndexUnavailable" in run.stderr
    assert "ray.init()" in run.stderr


def test_an_unreachable_server_is_reported_without_its_password(tmp_path: Path) -> None:
    plain = IndexConfig(uri="http://root:hunter2@127.0.0.1:9", timeout_s=1)
    with pytest.raises(IndexUnavailable, match=r"http://127\.0\.0\.1:9") as caught:
        connect(plain, tmp_path)
    assert "hunter2" not in str(caught.value)


def test_an_invalid_address_is_rejected_immediately(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailable, match="MILVUS_URI"):
        connect(IndexConfig(uri="milvus:19530", timeout_s=60), tmp_path)


def test_a_wrong_token_or_an_untrusted_certificate_raises_a_clear_error(plain: IndexConfig, tmp_path: Path) -> None:
    with serve_behind_tls(tmp_path) as (uri, certificate):
        tls = {"uri": uri, "token": SecretStr(TOKEN), "tls_ca_cert": certificate, "tls_server_name": SERVER_NAME}
        config = plain.model_copy(update={**tls, "timeout_s": 1})
        wrong = {"token": SecretStr("root:guessed")}, {"tls_ca_cert": None}, {"tls_server_name": "other.example"}
        for one in wrong:
            with pytest.raises(IndexUnavailable, match="MILVUS_URI and MILVUS_TOKEN") as caught:
                connect(config.model_copy(update=one), None)
            assert "guessed" not in str(caught.value)
        # Last, because pymilvus shares an open connection between all clients of one address and token.
        assert connect(config, None).list_collections() == []
