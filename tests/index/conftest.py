"""Tests run against an embedded Milvus Lite, one behind TLS and a token, and optionally a server of your choice.

Set RAYREEL_TEST_MILVUS_URI, and RAYREEL_TEST_MILVUS_TOKEN and RAYREEL_TEST_MILVUS_CA if required, to a server used for
tests only: they create and drop collections from videos_v900001 on, and the alias videos_in_test.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from pymilvus import MilvusClient

from index_filling import DIM, FIRST, Fill
from milvus_behind_tls import SERVER_NAME, TOKEN, serve_behind_tls
from rayreel.index.alias import alias_target, collections, drop_collection
from rayreel.index.collection import collection_name
from rayreel.index.config import IndexConfig
from rayreel.index.connect import connect
from rayreel.index.embedded import stop_embedded
from rayreel.index.write import IndexRow, create_collection, make_searchable, upsert

TARGETS = ["embedded", "behind TLS"] + ["configured"] * ("RAYREEL_TEST_MILVUS_URI" in os.environ)


@pytest.fixture(scope="session", autouse=True)
def _without_milvus_variables() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MILVUS_URI", raising=False)
        patch.delenv("MILVUS_TOKEN", raising=False)
        yield


@pytest.fixture(scope="session")
def plain() -> IndexConfig:
    """Configuration of the embedded Milvus Lite."""
    return IndexConfig(batch_rows=100, alias="videos_in_test")


@pytest.fixture(scope="module")
def data_dir(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("milvus")
    yield path
    stop_embedded(path)


@pytest.fixture(scope="module")
def embedded(data_dir: Path, plain: IndexConfig) -> MilvusClient:
    return connect(plain, data_dir)


@pytest.fixture(scope="module", params=TARGETS)
def config(
    request: pytest.FixtureRequest, plain: IndexConfig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IndexConfig]:
    if request.param == "embedded":
        yield plain
    elif request.param == "behind TLS":
        with serve_behind_tls(tmp_path_factory.mktemp("tls")) as (uri, certificate):
            tls = {"uri": uri, "token": SecretStr(TOKEN), "tls_ca_cert": certificate, "tls_server_name": SERVER_NAME}
            yield plain.model_copy(update=tls)
    else:
        yield plain.model_copy(update=configured_server())


def configured_server() -> dict[str, object]:
    uri = os.environ["RAYREEL_TEST_MILVUS_URI"]
    certificate = os.environ.get("RAYREEL_TEST_MILVUS_CA")
    token = SecretStr(os.environ.get("RAYREEL_TEST_MILVUS_TOKEN", ""))
    return {"uri": uri, "token": token, "tls_ca_cert": Path(certificate) if certificate else None}


@pytest.fixture(scope="module")
def client(config: IndexConfig, request: pytest.FixtureRequest) -> Iterator[MilvusClient]:
    client = connect(config, None) if config.uri else request.getfixturevalue("embedded")
    yield client
    if alias_target(client, config.alias):
        client.drop_alias(config.alias)
    for collection in collections(client):
        if collection.version >= FIRST:
            drop_collection(client, collection.name)


@pytest.fixture(scope="module")
def fill(client: MilvusClient, config: IndexConfig) -> Fill:
    """Recreate the collection of a version with some rows, ready for searches; return its name."""

    def fill(version: int, rows: Iterable[IndexRow]) -> str:
        collection = collection_name(FIRST + version)
        drop_collection(client, collection)
        create_collection(client, collection, DIM, config)
        upsert(client, collection, rows, config)
        make_searchable(client, collection, config)
        return collection

    return fill


@pytest.fixture(scope="session")
def rows() -> list[IndexRow]:
    """300 videos around 6 centres: neighbourhoods as dense as in real data, unlike pure noise."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, DIM))
    points = centres[np.arange(300) % 6] + 0.6 * rng.normal(size=(300, DIM))
    unit = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    return [
        IndexRow(
            f"v{n}",
            unit[n],
            title=f"video {n}",
            category=f"c{n % 6}",
            tags=(f"t{n % 5}", f"u{n % 7}"),
            extra={"views": n, "lang": ("de", "en")[n % 2], "created_at": 1e9 + n, "duration_s": 3.5},
            version=f"hash{n}",
            text=f"video {n} of the tide{n % 10} and the moon{n}",
        )
        for n in range(300)
    ]
