"""A release's collection in Milvus: name, columns, indexes and value encoding."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pymilvus import CollectionSchema, DataType, Function, FunctionType, MilvusClient
from pymilvus.milvus_client.index import IndexParams

from rayreel.errors import RayreelError
from rayreel.index.config import IndexConfig

# Milvus limits VARCHAR in bytes, the catalog in characters: an id of 512 characters has at most 2048 bytes, never cut.
ID_BYTES = 2048
TITLE_BYTES = 4096
CATEGORY_BYTES = 1024
TAG_BYTES = 512
MAX_TAGS = 256
URI_BYTES = 65_535
VERSION_BYTES = 256
TEXT_BYTES = 65_535
EXTRA_TEXT_BYTES = 1024

_NAME = re.compile(r"videos_v(\d+)")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


class NotARelease(RayreelError):
    """The collection does not belong to a release."""


def collection_name(version: int) -> str:
    """Return the name of the collection of a tower version in the registry."""
    return f"videos_v{version}"


def version_of(collection: str) -> int:
    """Return the tower version a collection was built with.

    Raises:
        NotARelease: the name does not have the form of `collection_name`.
    """
    match = _NAME.fullmatch(collection)
    if match is None:
        raise NotARelease(f"{collection!r} is not a release's collection (videos_v<N>). Point the alias to one.")
    return int(match[1])


def schema(dim: int) -> CollectionSchema:
    """Return the columns of a collection of embeddings [dim]. Milvus computes `sparse` from `text` (BM25)."""
    columns = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    columns.add_field("video_id", DataType.VARCHAR, is_primary=True, max_length=ID_BYTES)
    columns.add_field("version", DataType.VARCHAR, max_length=VERSION_BYTES)
    columns.add_field("embedding", DataType.FLOAT_VECTOR, dim=dim)
    columns.add_field("title", DataType.VARCHAR, max_length=TITLE_BYTES)
    columns.add_field("category", DataType.VARCHAR, max_length=CATEGORY_BYTES)
    columns.add_field(
        "tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=MAX_TAGS, max_length=TAG_BYTES
    )
    columns.add_field("uri", DataType.VARCHAR, max_length=URI_BYTES)
    columns.add_field("extra", DataType.JSON)
    columns.add_field("text", DataType.VARCHAR, max_length=TEXT_BYTES, enable_analyzer=True)
    columns.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    columns.add_function(Function("bm25", FunctionType.BM25, ["text"], ["sparse"]))
    return columns


def indexes(config: IndexConfig) -> IndexParams:
    """Return the indexes: HNSW over cosine similarity, and the inverted index for BM25."""
    params = MilvusClient.prepare_index_params()
    params.add_index(
        "embedding",
        index_type="HNSW",
        metric_type="COSINE",
        params={"M": config.hnsw_m, "efConstruction": config.ef_construction},
    )
    params.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params={})
    return params


def typed(extra: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Group a video's extra columns by type, as stored in the index: `{"text": {...}, "number": {...}, "flag": {...}}`.

    Filters name the type with the key, so that no engine compares a number with a text or a boolean: in Milvus Lite 3.2
    `1 == true` is true, and the server has other rules. Null, NaN and infinity are dropped.
    """
    columns: dict[str, dict[str, Any]] = {}
    for key, value in extra.items():
        if (kind := kind_of(value)) is not None:
            columns.setdefault(kind, {})[key] = cut(value, EXTRA_TEXT_BYTES) if kind == "text" else value
    return columns


def untyped(columns: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the extra columns from the result of `typed`."""
    return {key: value for values in columns.values() for key, value in values.items()}


def kind_of(value: Any) -> str | None:  # noqa: ANN401
    """Return the type name under which `typed` stores a value; None for values it drops."""
    match value:
        case bool():
            return "flag"
        case int():
            return "number"
        case float():
            return "number" if math.isfinite(value) else None
        case str():
            return "text"
    return None


def literal(text: str) -> str:
    """Return a text as a literal in Milvus' filter language, with special characters escaped."""
    return f'"{text.translate(_ESCAPES)}"'


def id_list(video_ids: Iterable[str]) -> str:
    """Return ids as a list literal in Milvus' filter language.

    Literals, because Milvus Lite 3.2 ignores filter templates, and `MilvusClient.get` does not escape.
    """
    return "[" + ", ".join(map(literal, video_ids)) + "]"


def cut(text: str, limit: int) -> str:
    """Shorten a text to at most `limit` bytes of UTF-8, at a character boundary."""
    return text.encode("utf-8", errors="replace")[:limit].decode("utf-8", errors="ignore")
