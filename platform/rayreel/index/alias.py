"""Which collection serves, and which there are: the alias is the one switch."""

from typing import NamedTuple

from pymilvus import MilvusClient

from rayreel.errors import RayreelError
from rayreel.index.collection import NotARelease, version_of

# Seconds. Without a timeout pymilvus asks an absent server for minutes.
CALL_TIMEOUT_S = 15.0


class IndexInUse(RayreelError):
    """A collection that an alias points at."""


class ReleaseCollection(NamedTuple):
    """A release's collection: the tower version and the collection's name."""

    version: int
    name: str


def alias_target(client: MilvusClient, alias: str, timeout: float = CALL_TIMEOUT_S) -> str | None:
    """Return the collection an alias points at, or None where there is no such alias."""
    # Asking for a missing alias outright makes pymilvus log a traceback.
    if alias not in client.list_aliases(timeout=timeout)["aliases"]:
        return None
    target: str = client.describe_alias(alias, timeout=timeout)["collection_name"]
    return target


def switch_alias(client: MilvusClient, alias: str, collection: str, timeout: float = CALL_TIMEOUT_S) -> None:
    """Point an alias at a collection, in one step of the server: no search sees neither or both."""
    if alias_target(client, alias, timeout) is None:
        client.create_alias(collection, alias, timeout=timeout)
    else:
        client.alter_alias(collection, alias, timeout=timeout)


def collections(client: MilvusClient, timeout: float = CALL_TIMEOUT_S) -> list[ReleaseCollection]:
    """Return the releases' collections, oldest version first. Others in the same Milvus are left out."""
    found = []
    for name in client.list_collections(timeout=timeout):
        try:
            found.append(ReleaseCollection(version_of(name), name))
        except NotARelease:
            continue
    return sorted(found)


def aliases_of(client: MilvusClient, collection: str, timeout: float = CALL_TIMEOUT_S) -> list[str]:
    """Return the aliases that point at a collection."""
    names: list[str] = list(client.list_aliases(collection, timeout=timeout)["aliases"])
    return names


def drop_collection(client: MilvusClient, collection: str, timeout: float = CALL_TIMEOUT_S) -> None:
    """Drop a collection; nothing happens where there is none.

    Raises:
        IndexInUse: an alias points at it (Milvus Lite would drop the alias too, and every search with it).
    """
    if not client.has_collection(collection, timeout=timeout):
        return
    if aliases := aliases_of(client, collection, timeout):
        raise IndexInUse(f"{collection} serves as {', '.join(aliases)}. Promote another release before replacing it.")
    client.drop_collection(collection, timeout=timeout)
