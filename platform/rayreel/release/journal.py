"""The journal of switches below the storage root: the one in progress and the last completed one."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from rayreel.errors import RayreelError
from rayreel.storage import Storage


class BadJournal(RayreelError):
    """A journal record cannot be read."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A planned or completed change of the serving release. `at` is ISO 8601 in UTC.

    `before` is the version that served and `champion` the one at MLflow's alias; None if there was none. `restored`
    means that `version` served before its index was lost, `kept` that it serves already and only the alias is set back.
    """

    event: Literal["promoted", "rolled back", "restored", "kept"]
    version: int
    before: int | None
    champion: int | None
    by: str
    at: str = ""
    gates: tuple[dict[str, Any], ...] = ()
    metrics: dict[str, float] | None = None
    forced_reason: str | None = None


_RECORD: TypeAdapter[Switch] = TypeAdapter(Switch)


def begin(storage: Storage, plan: Switch) -> None:
    """Record a switch before it is made."""
    storage.write(_under_way(storage), _RECORD.dump_json(plan))


def end(storage: Storage, made: Switch) -> None:
    """Record that a switch is complete in index and registry."""
    storage.write(_made(storage), _RECORD.dump_json(made))
    forget(storage)


def forget(storage: Storage) -> None:
    """Delete the record of the switch in progress, if there is one."""
    with suppress(FileNotFoundError):
        storage.filesystem.delete_file(_under_way(storage))


def under_way(storage: Storage) -> Switch | None:
    """Return the switch that was begun but not ended; its process may be running or killed. Raises BadJournal."""
    return _read(storage, _under_way(storage))


def last_made(storage: Storage) -> Switch | None:
    """Return the last completed switch. Raises BadJournal."""
    return _read(storage, _made(storage))


def _read(storage: Storage, path: str) -> Switch | None:
    content = storage.read(path)
    try:
        return None if content is None else _RECORD.validate_json(content)
    except ValidationError as error:
        raise BadJournal(
            f"{path} cannot be read: {error.errors()[0]['msg']}. Check that the serving release (/readyz) is the "
            "champion in MLflow, then delete the file. The next promotion starts from the release that serves."
        ) from error


def _under_way(storage: Storage) -> str:
    return storage.path("releases", "switch.json")


def _made(storage: Storage) -> str:
    return storage.path("releases", "switched.json")
