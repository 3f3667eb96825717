"""What a release's collection looks like: its name, its columns, its indexes."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pymilvus import CollectionSchema, DataType, Function, FunctionType, MilvusClient
from pymilvus.milvus_client.index import IndexParams

from rayreel.errors import RayreelError
from rayreel.index.config import IndexConfig

# Milvus counts VARCHAR bytes, the catalog characters: an id of 512 characters has at most 2048 bytes and is never cut.
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
    """A collection that no release made."""


def collection_name(version: int) -> str:
    """Name of the collection that belongs to a tower version in the registry."""
    return f"videos_v{version}"


def version_of(collection: str) -> int:
    """Return the tower version a collection was built with.

    Raises:
        NotARelease: the name is not one that `collection_name` gives.
    """
    match = _NAME.fullmatch(collection)
    if match is None:
        raise NotARelease(f"{collection!r} is no release's collection (videos_v<N>). Point the alias at one that is.")
    return int(match[1])


def schema(dim: int) -> CollectionSchema:
    """The columns of a release's collection of embeddings [dim]. Milvus makes `sparse` from `text` (BM25)."""
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
    """HNSW over cosine similarity, and the inverted index of BM25."""
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
    """A video's own columns as the index holds them: `{"text": {...}, "number": {...}, "flag": {...}}`.

    Filters name the type with the key, so that no engine has to compare a number with a text or with a boolean: Milvus
    Lite 3.2 holds `1 == true`, and a server answers by rules of its own. Null, NaN and infinity are absent.
    """
    columns: dict[str, dict[str, Any]] = {}
    for key, value in extra.items():
        if (kind := kind_of(value)) is not None:
            columns.setdefault(kind, {})[key] = cut(value, EXTRA_TEXT_BYTES) if kind == "text" else value
    return columns


def untyped(columns: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The video's own columns again, from what `typed` made."""
    return {key: value for values in columns.values() for key, value in values.items()}


def kind_of(value: Any) -> str | None:  # noqa: ANN401
    """Under which of `typed`'s names a value stands; None for what is not kept."""
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
    """A text in Milvus' filter language, whatever characters it holds."""
    return f'"{text.translate(_ESCAPES)}"'


def id_list(video_ids: Iterable[str]) -> str:
    """Ids as a list literal of Milvus' filter language.

    Written out because Milvus Lite 3.2 ignores filter templates, and `MilvusClient.get` does not escape.
    """
    return "[" + ", ".join(map(literal, video_ids)) + "]"


def cut(text: str, limit: int) -> str:
    """Shorten a text to at most `limit` bytes of UTF-8, never through a character."""
    return text.encode("utf-8", errors="replace")[:limit].decode("utf-8", errors="ignore")
