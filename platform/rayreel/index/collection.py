"""What a release's collection looks like: its name, its columns, its HNSW index."""

import re
from collections.abc import Iterable

from pymilvus import CollectionSchema, DataType, MilvusClient
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


def schema(config: IndexConfig) -> CollectionSchema:
    """The columns of a release's collection. A BM25 column would be a Function on `title` and one sparse field more."""
    columns = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    columns.add_field("video_id", DataType.VARCHAR, is_primary=True, max_length=ID_BYTES)
    columns.add_field("embedding", DataType.FLOAT_VECTOR, dim=config.dim)
    columns.add_field("title", DataType.VARCHAR, max_length=TITLE_BYTES)
    columns.add_field("category", DataType.VARCHAR, max_length=CATEGORY_BYTES)
    columns.add_field(
        "tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=MAX_TAGS, max_length=TAG_BYTES
    )
    columns.add_field("uri", DataType.VARCHAR, max_length=URI_BYTES)
    columns.add_field("extra", DataType.JSON)
    return columns


def hnsw(config: IndexConfig) -> IndexParams:
    """The HNSW index over cosine similarity."""
    params = MilvusClient.prepare_index_params()
    params.add_index(
        "embedding",
        index_type="HNSW",
        metric_type="COSINE",
        params={"M": config.hnsw_m, "efConstruction": config.ef_construction},
    )
    return params


def id_list(video_ids: Iterable[str]) -> str:
    """Ids as a list literal of Milvus' filter language, whatever characters they hold.

    Written out because Milvus Lite 3.2 ignores filter templates, and `MilvusClient.get` does not escape.
    """
    return "[" + ", ".join(f'"{video_id.translate(_ESCAPES)}"' for video_id in video_ids) + "]"


def cut(text: str, limit: int) -> str:
    """Shorten a text to at most `limit` bytes of UTF-8, never through a character."""
    return text.encode("utf-8", errors="replace")[:limit].decode("utf-8", errors="ignore")
