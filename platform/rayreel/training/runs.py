"""Runs on record: what a run was started with, so that it can go on after anything."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from rayreel.errors import RayreelError
from rayreel.storage import Storage

_FILE = "run.json"
LAST = "last"


class NoSuchRun(RayreelError):
    """There is no run of this name to go on with."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run's MLflow id, its settings, and what it was trained on; `version` once its tower is registered."""

    name: str
    run_id: str
    settings: dict[str, Any]
    features: str
    interactions: str
    version: int | None = None

    def write(self, storage: Storage) -> None:
        """Put it into the run's folder."""
        storage.write(_path(storage, self.name), json.dumps(asdict(self), indent=2).encode())

    def done(self, storage: Storage, version: int) -> None:
        """The tower is registered: there is nothing left to resume."""
        replace(self, version=version).write(storage)


def find_run(storage: Storage, name: str) -> RunRecord:
    """The run of this name, or the newest unfinished one for `last`. Raises NoSuchRun; a finished run is one too."""
    names = [name] if name != LAST else sorted(storage.folders(storage.path("checkpoints")), reverse=True)
    found = [record for record in (_read(storage, each) for each in names) if record is not None]
    unfinished = [record for record in found if record.version is None]
    if unfinished:
        return unfinished[0]
    if name != LAST and found:
        raise NoSuchRun(f"--resume {name}: that run has ended and is registered as version {found[0].version}.")
    there = ", ".join(storage.folders(storage.path("checkpoints"))) or "none"
    raise NoSuchRun(f"--resume {name}: no unfinished run of that name below {storage.root} (runs: {there}).")


def check_unchanged(record: RunRecord, features: str, interactions: str) -> None:
    """Raises NoSuchRun when the data are no longer those that the run began with."""
    for what, then, now in (
        ("features", record.features, features),
        ("interactions", record.interactions, interactions),
    ):
        if then != now:
            raise NoSuchRun(
                f"--resume {record.name}: the {what} have changed since it began, so that it cannot go on where it "
                "was. Start a new run without --resume."
            )


def _read(storage: Storage, name: str) -> RunRecord | None:
    text = storage.read(_path(storage, name))
    return None if text is None else RunRecord(**json.loads(text))


def _path(storage: Storage, name: str) -> str:
    return storage.path("checkpoints", name, _FILE)
