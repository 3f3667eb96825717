"""The releases' collections, and the alias that points to the serving one."""

from typing import NamedTuple

from pymilvus import MilvusClient

from rayreel.errors import RayreelError
from rayreel.index.collection import NotARelease, version_of
from rayreel.index.config import IndexConfig

# Seconds. Without a timeout pymilvus tries an unreachable server for minutes.
CALL_TIMEOUT_S = IndexConfig().timeout_s


class IndexInUse(RayreelError):
    """An alias points to the collection."""


class ReleaseCollection(NamedTuple):
    """A release's collection: its tower version and name."""

    version: int
    name: str


def alias_target(client: MilvusClient, alias: str, timeout: float = CALL_TIMEOUT_S) -> str | None:
    """Return the collection an alias points to, or None if the alias does not exist."""
    # Describing a missing alias makes pymilvus log a traceback.
    if alias not in client.list_aliases(timeout=timeout)["aliases"]:
        return None
    target: str = client.describe_alias(alias, timeout=timeout)["collection_name"]
    return target


def switch_alias(client: MilvusClient, alias: str, collection: str, timeout: float = CALL_TIMEOUT_S) -> None:
    """Point an alias to a collection, atomically on the server."""
    if alias_target(client, alias, timeout) is None:
        client.create_alias(collection, alias, timeout=timeout)
    else:
        client.alter_alias(collection, alias, timeout=timeout)


def collections(client: MilvusClient, timeout: float = CALL_TIMEOUT_S) -> list[ReleaseCollection]:
    """Return the releases' collections, oldest version first. Other collections of the same Milvus are skipped."""
    found = []
    for name in client.list_collections(timeout=timeout):
        try:
            found.append(ReleaseCollection(version_of(name), name))
        except NotARelease:
            continue
    return sorted(found)


def aliases_of(client: MilvusClient, collection: str, timeout: float = CALL_TIMEOUT_S) -> list[str]:
    """Return the aliases that point to a collection."""
    names: list[str] = list(client.list_aliases(collection, timeout=timeout)["aliases"])
    return names


def drop_collection(client: MilvusClient, collection: str, timeout: float = CALL_TIMEOUT_S) -> None:
    """Drop a collection if it exists.

    Raises:
        IndexInUse: an alias points to it (Milvus Lite would drop the alias too, and searches would fail).
    """
    if not client.has_collection(collection, timeout=timeout):
        return
    if aliases := aliases_of(client, collection, timeout):
        raise IndexInUse(
            f"{collection} is in use: {', '.join(aliases)} points to it. Promote another release before replacing it."
        )
    client.drop_collection(collection, timeout=timeout)
