"""Write videos to a release's collection and delete them. All calls are idempotent."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient, MilvusException
from pymilvus.milvus_client.index import IndexParam, IndexParams
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_exponential

from rayreel.errors import RayreelError
from rayreel.index.collection import (
    CATEGORY_BYTES,
    MAX_TAGS,
    TAG_BYTES,
    TEXT_BYTES,
    TITLE_BYTES,
    URI_BYTES,
    VERSION_BYTES,
    cut,
    id_list,
    indexes,
    literal,
    schema,
    typed,
)
from rayreel.index.config import IndexConfig, IndexUnavailable
from rayreel.index.retry import call_milvus
from rayreel.redact import public_address

T = TypeVar("T")
Vector = NDArray[np.float32]

# Rows per query; Milvus' limit is 16,384.
PAGE_ROWS = 10_000


class IndexBroken(RayreelError):
    """A collection does not match what was written to it, or a row cannot be written."""


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One video in the index.

    `embedding`: float32 [dim]. `version`: the feature row's. `text`: the input of BM25. `extra`: the catalog's extra
    columns with `created_at` (epoch seconds) and `duration_s`; texts, numbers and booleans.
    """

    video_id: str
    embedding: Vector
    title: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    uri: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    text: str = ""


def create_collection(client: MilvusClient, collection: str, dim: int, config: IndexConfig) -> None:
    """Create an empty collection for embeddings [dim], unless it exists."""
    if not client.has_collection(collection, timeout=config.timeout_s):
        client.create_collection(collection, schema=schema(dim), timeout=config.timeout_s)


def upsert(
    client: MilvusClient,
    collection: str,
    rows: Iterable[IndexRow],
    config: IndexConfig,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Upsert rows in batches and return their number. Survives restarts of Milvus.

    `progress` receives the number of rows acknowledged so far.

    Raises:
        IndexBroken: a row has no usable embedding, or one of another width than the collection's.
        IndexUnavailable: Milvus stayed unreachable.
    """
    sent, dim = 0, _width(client, collection, config)
    for batch in _batches(rows, config.batch_rows):
        records = [_record(row, dim) for row in batch]
        call_milvus(config.restart_s, client.upsert, collection, records, timeout=config.build_timeout_s)
        sent += len(batch)
        progress(sent)
    return sent


def delete(client: MilvusClient, collection: str, ids: Sequence[str], config: IndexConfig) -> None:
    """Delete videos; unknown ids are ignored. Survives restarts of Milvus.

    Raises:
        IndexUnavailable: Milvus stayed unreachable.
    """
    for batch in _batches(ids, config.batch_rows):
        condition = f"video_id in {id_list(batch)}"
        call_milvus(config.restart_s, client.delete, collection, filter=condition, timeout=config.build_timeout_s)


def stored_versions(client: MilvusClient, collection: str, config: IndexConfig) -> dict[str, str]:
    """Return the feature row version of every video in the collection, by id.

    Raises:
        IndexUnavailable: Milvus did not answer.
    """
    versions: dict[str, str] = {}
    last = ""
    while True:
        page = call_milvus(
            config.restart_s,
            client.query,
            collection,
            filter=f"video_id > {literal(last)}",
            output_fields=["video_id", "version"],
            limit=PAGE_ROWS,
            consistency_level="Strong",
            timeout=config.build_timeout_s,
            # By primary key, like `MilvusClient.query_iterator`, which does not escape the id of the last row.
            iterator="True",
            reduce_stop_for_best="True",
        )
        if not page:
            return versions
        versions.update((row["video_id"], row["version"]) for row in page)
        last = page[-1]["video_id"]


def make_searchable(client: MilvusClient, collection: str, config: IndexConfig) -> None:
    """Flush and index a collection, so that it can be searched. Never interrupts a serving collection.

    Until the next load, Milvus Lite searches rows written after its index was built by brute force: hence the index
    comes last, then release and load. This is also Milvus' own order for bulk loads. Rows added to a serving collection
    are searchable at once, and Milvus indexes them in the background.
    """

    def call(step: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401
        return call_milvus(config.restart_s, step, collection, *args, timeout=config.build_timeout_s, **options)

    def exists(params: IndexParam) -> bool:
        return bool(call(client.list_indexes, field_name=params.field_name))

    call(client.flush)
    missing = [params for params in indexes(config) if not exists(params)]
    for params in missing:
        try:
            call(client.create_index, IndexParams([params]), sync=False)  # build all indexes at the same time
        except MilvusException:
            # Milvus Lite rejects an index that exists, for example one built just before it crashed.
            if not exists(params):
                raise
    for params in missing:
        (name,) = call(client.list_indexes, field_name=params.field_name)
        _await_index(partial(call, client.describe_index, name), config.build_timeout_s)
    if missing or not call(client.list_aliases)["aliases"]:
        call(client.release_collection)
        call(client.load_collection)
    # Milvus Lite builds its BM25 index on the first search: do not leave that to a user.
    call(client.search, data=["a"], anns_field="sparse", limit=1, search_params={"metric_type": "BM25"})


def _await_index(describe: Callable[[], dict[str, Any]], timeout_s: float) -> None:
    """Wait until an index is built. pymilvus' own wait sleeps 0.5 s first and ignores a timeout that is a float."""
    unfinished = retry_if_result(lambda index: index["state"] not in {"Finished", "Failed"})
    waiting = Retrying(retry=unfinished, stop=stop_after_delay(timeout_s), wait=wait_exponential(0.01, max=0.5))
    try:
        index = waiting(describe)
    except RetryError as error:
        raise IndexUnavailable(
            f"Milvus did not build an index within {timeout_s:g} s. Raise index.build_timeout_s."
        ) from error
    if index["state"] == "Failed":
        raise IndexBroken(f"Milvus failed to build the index {index['index_name']}. See the logs of Milvus.")


def _batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def _width(client: MilvusClient, collection: str, config: IndexConfig) -> int:
    description = call_milvus(config.restart_s, client.describe_collection, collection, timeout=config.build_timeout_s)
    return int(next(field["params"]["dim"] for field in description["fields"] if field["name"] == "embedding"))


def _record(row: IndexRow, dim: int) -> dict[str, Any]:
    embedding = np.asarray(row.embedding, dtype=np.float32)
    if embedding.shape != (dim,) or not np.isfinite(embedding).all() or not embedding.any():
        raise IndexBroken(
            f"{row.video_id}: embedding of shape {embedding.shape}; expected {dim} finite numbers, not all zero. "
            "A collection has embeddings of one tower: build a new collection for another tower."
        )
    return {
        "video_id": row.video_id,
        "version": cut(row.version, VERSION_BYTES),
        "embedding": embedding,
        "title": cut(row.title, TITLE_BYTES),
        "category": cut(row.category, CATEGORY_BYTES),
        "tags": [cut(tag, TAG_BYTES) for tag in row.tags[:MAX_TAGS]],
        # For display only: nothing is fetched from it, and the database may be shared.
        "uri": cut(public_address(row.uri), URI_BYTES),
        "extra": typed(row.extra),
        "text": cut(row.text, TEXT_BYTES),
    }
