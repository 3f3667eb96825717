"""The journal of switches: the one that is under way, and the last that was made, below the storage root."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from rayreel.errors import RayreelError
from rayreel.storage import Storage


class BadJournal(RayreelError):
    """A record that cannot be read."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One change of what serves, as it was meant before it was made. `at` is ISO 8601 in UTC.

    `before` is what served, `champion` the version that MLflow's alias pointed at; None where there was none.
    `restored`: the version served before its index was lost. `kept`: it serves, and its alias is put back.
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


def begin(storage: Storage, meant: Switch) -> None:
    """Write down a switch before it is made."""
    storage.write(_under_way(storage), _RECORD.dump_json(meant))


def end(storage: Storage, made: Switch) -> None:
    """Write down that a switch was made, and that index and registry say so."""
    storage.write(_made(storage), _RECORD.dump_json(made))
    forget(storage)


def forget(storage: Storage) -> None:
    """No switch is under way."""
    with suppress(FileNotFoundError):
        storage.filesystem.delete_file(_under_way(storage))


def under_way(storage: Storage) -> Switch | None:
    """The switch that was begun and not ended: by a process that is at it, or that was killed. Raises BadJournal."""
    return _read(storage, _under_way(storage))


def last_made(storage: Storage) -> Switch | None:
    """The last switch that was ended. Raises BadJournal."""
    return _read(storage, _made(storage))


def _read(storage: Storage, path: str) -> Switch | None:
    content = storage.read(path)
    try:
        return None if content is None else _RECORD.validate_json(content)
    except ValidationError as error:
        raise BadJournal(
            f"{path} cannot be read: {error.errors()[0]['msg']}. Compare what serves (/readyz) with the champion in "
            "MLflow, and delete the file: the next promotion starts from what serves."
        ) from error


def _under_way(storage: Storage) -> str:
    return storage.path("releases", "switch.json")


def _made(storage: Storage) -> str:
    return storage.path("releases", "switched.json")
