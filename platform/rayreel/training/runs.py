"""Run records: the settings and data of a run, so that it can be resumed."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from rayreel.errors import RayreelError
from rayreel.storage import Storage

_FILE = "run.json"
LAST = "last"


class NoSuchRun(RayreelError):
    """No run of this name can be resumed."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run's MLflow id, settings and data fingerprints; `version` is set when its tower is registered."""

    name: str
    run_id: str
    settings: dict[str, Any]
    features: str
    interactions: str
    version: int | None = None

    def write(self, storage: Storage) -> None:
        """Write the record to the run's folder."""
        storage.write(_path(storage, self.name), json.dumps(asdict(self), indent=2).encode())

    def done(self, storage: Storage, version: int) -> None:
        """Record the registered version; the run cannot be resumed any more."""
        replace(self, version=version).write(storage)


def find_run(storage: Storage, name: str) -> RunRecord:
    """Return the run of this name, or the newest unfinished run for `last`.

    Raises NoSuchRun if there is none, or if the run is already registered.
    """
    names = [name] if name != LAST else sorted(storage.folders(storage.path("checkpoints")), reverse=True)
    found = [record for record in (_read(storage, each) for each in names) if record is not None]
    unfinished = [record for record in found if record.version is None]
    if unfinished:
        return unfinished[0]
    if name != LAST and found:
        raise NoSuchRun(
            f"--resume {name}: this run is complete and registered as version {found[0].version}. Start a new run "
            "without --resume."
        )
    existing = ", ".join(storage.folders(storage.path("checkpoints"))) or "none"
    raise NoSuchRun(f"--resume {name}: no unfinished run of that name below {storage.root}. Existing runs: {existing}.")


def check_unchanged(record: RunRecord, features: str, interactions: str) -> None:
    """Raise NoSuchRun if features or interactions have changed since the run started."""
    for what, then, now in (
        ("features", record.features, features),
        ("interactions", record.interactions, interactions),
    ):
        if then != now:
            raise NoSuchRun(
                f"--resume {record.name}: the {what} have changed since the run started, so it cannot be resumed. "
                "Start a new run without --resume."
            )


def _read(storage: Storage, name: str) -> RunRecord | None:
    text = storage.read(_path(storage, name))
    return None if text is None else RunRecord(**json.loads(text))


def _path(storage: Storage, name: str) -> str:
    return storage.path("checkpoints", name, _FILE)
