"""Milvus Lite's server and database, as they are and as they are patched."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import grpc
import milvus_lite.db
import numpy as np
import pytest
from milvus_lite import CollectionNotLoadedError, MilvusLite
from milvus_lite.adapter.grpc.server import start_server_in_thread
from pymilvus import MilvusClient
from pymilvus.grpc_gen.milvus_pb2 import AllocTimestampRequest
from pymilvus.grpc_gen.milvus_pb2_grpc import MilvusServiceStub

from ports import free_port
from rayreel.compat.milvus_lite import open_database, serve
from rayreel.index.alias import drop_collection
from rayreel.index.collection import collection_name
from rayreel.index.config import IndexConfig
from rayreel.index.filters import parse_filter
from rayreel.index.search import VideoIndex
from rayreel.index.write import IndexRow, create_collection, delete, make_searchable, upsert

DIM, ROWS = 32, 3000
CONFIG = IndexConfig(batch_rows=100)
MENDED = "Milvus Lite mends this now: simplify rayreel.compat.milvus_lite."


@pytest.fixture(scope="module")
def many() -> list[IndexRow]:
    points = np.random.default_rng(3).normal(size=(ROWS, DIM)).astype(np.float32)
    return [IndexRow(f"v{n}", point, category=f"c{n % 100}", extra={"n": n % 100}) for n, point in enumerate(points)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    database, address = open_database(str(tmp_path_factory.mktemp("milvus"))), f"127.0.0.1:{free_port()}"
    server = serve(database, address)
    yield address
    server.stop(grace=1).wait()
    database.close()


@pytest.fixture(scope="module")
def client(address: str) -> MilvusClient:
    return MilvusClient(f"http://{address}")


def filled(client: MilvusClient, version: int, rows: list[IndexRow]) -> str:
    """Recreate the collection of a version with some rows, ready for searches; return its name."""
    collection = collection_name(version)
    drop_collection(client, collection)
    create_collection(client, collection, DIM, CONFIG)
    upsert(client, collection, rows, CONFIG)
    make_searchable(client, collection, CONFIG)
    return collection


@pytest.mark.parametrize("written", [{"category": "c7"}, {"extra.n": 7}, {"extra.n": {"gte": 7, "lte": 9}}])
def test_a_search_with_a_strict_filter_is_exact(
    client: MilvusClient, many: list[IndexRow], written: dict[str, object]
) -> None:
    index = VideoIndex(client, CONFIG, filled(client, 1, many))
    passing = [row for n, row in enumerate(many) if n % 100 == 7 or ("gte" in str(written) and 7 <= n % 100 <= 9)]
    for query in (many[0].embedding, many[1].embedding):
        scores = [row.embedding @ query / np.linalg.norm(row.embedding) for row in passing]
        expected = [passing[n].video_id for n in np.argsort(scores)[::-1][:10]]
        for _ in range(2):
            assert [hit.video_id for hit in index.search(query, 10, filter=parse_filter(written))] == expected


def test_a_repeated_filter_sees_later_writes(client: MilvusClient, many: list[IndexRow]) -> None:
    collection = filled(client, 2, many[:500])
    index, wanted = VideoIndex(client, CONFIG, collection), parse_filter({"extra.n": 7})
    query = many[7].embedding
    assert len(index.search(query, 50, filter=wanted)) == 5
    upsert(
        client, collection, [IndexRow("new", query, extra={"n": 7}), IndexRow("v107", query, extra={"n": 8})], CONFIG
    )
    delete(client, collection, ["v207"], CONFIG)
    for _ in range(2):
        assert {hit.video_id for hit in index.search(query, 50, filter=wanted)} == {"v7", "v307", "v407", "new"}
        client.flush(collection)
    filled(client, 2, many[:110])
    assert {hit.video_id for hit in index.search(query, 50, filter=wanted)} == {"v7", "v107"}


@pytest.fixture
def stored(tmp_path: Path, many: list[IndexRow]) -> str:
    """The directory of a closed database with the collection videos_v1."""
    database, address = open_database(str(tmp_path / "stored")), f"127.0.0.1:{free_port()}"
    server = serve(database, address)
    filled(MilvusClient(f"http://{address}"), 1, many[:20])
    server.stop(grace=1).wait()
    database.close()
    return str(tmp_path / "stored")


def test_upstream_does_not_load_collections_when_it_starts(stored: str, many: list[IndexRow]) -> None:
    with MilvusLite(stored) as database, pytest.raises(CollectionNotLoadedError):
        found = database.get_collection("videos_v1").search([many[0].embedding.tolist()], 3, anns_field="embedding")
        pytest.fail(f"{MENDED}open_database: {found}")


def test_collections_are_loaded_when_the_database_opens(stored: str, many: list[IndexRow]) -> None:
    with open_database(stored) as database:
        (hits,) = database.get_collection("videos_v1").search(
            [many[0].embedding.tolist()], 3, anns_field="embedding", output_fields=["video_id"]
        )
        assert len(hits) == 3


def collections_of_two_requests(database: MilvusLite, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return the identities of the objects that two first requests for a collection get at the same time."""
    both, load_schema = Barrier(2), milvus_lite.db.load_schema

    def load(path: str) -> object:
        with suppress(BrokenBarrierError):  # a lock lets only one request in
            both.wait(timeout=2)
        return load_schema(path)

    monkeypatch.setattr(milvus_lite.db, "load_schema", load)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(database.get_collection, ["videos_v1"] * 2))
    return {id(collection) for collection in found}


def test_upstream_opens_a_collection_twice_for_two_requests(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with MilvusLite(stored) as database:
        assert len(collections_of_two_requests(database, monkeypatch)) == 2, f"{MENDED}open_database"


def test_a_collection_is_opened_once(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_database(stored) as database:
        assert len(collections_of_two_requests(database, monkeypatch)) == 1


def test_upstream_shares_its_port_with_another_server(tmp_path: Path) -> None:
    first, its_database, port = start_server_in_thread(str(tmp_path / "a"))
    second, other_database, shared = start_server_in_thread(str(tmp_path / "b"), port=port)
    for server, database in ((first, its_database), (second, other_database)):
        server.stop(grace=0).wait()
        database.close()
    assert shared == port, f"{MENDED}serve"


def test_a_port_in_use_is_an_error(address: str, tmp_path: Path) -> None:
    with open_database(str(tmp_path)) as database, pytest.raises(RuntimeError, match=address):
        serve(database, address)


def timestamp(address: str) -> int:
    with grpc.insecure_channel(address) as channel:
        return int(MilvusServiceStub(channel).AllocTimestamp(AllocTimestampRequest()).timestamp)


def test_upstream_has_no_timestamps(tmp_path: Path) -> None:
    server, database, port = start_server_in_thread(str(tmp_path))
    with pytest.raises(grpc.RpcError) as raised:
        pytest.fail(f"{MENDED}Servicer: {timestamp(f'127.0.0.1:{port}')}")
    server.stop(grace=0).wait()
    database.close()
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_timestamps_are_milliseconds_and_a_counter(address: str) -> None:
    assert 1.7e12 < timestamp(address) >> 18 < 5e12
