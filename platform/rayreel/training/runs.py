"""Run records: the settings and data of a run, so that it can be resumed."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

from rayreel.errors import RayreelError
from rayreel.storage import Storage

LAST = "last"


class NoSuchRun(RayreelError):
    """No run of this name can be resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run's MLflow id and settings; `version` is set when its model is registered.

    Subclasses add the digests of the run's data, which must not change before it is resumed. FILE is the record's name
    in the run's folder: commands find only runs of their own.
    """

    FILE: ClassVar[str]
    name: str
    run_id: str
    settings: dict[str, Any]
    version: int | None = None

    def write(self, storage: Storage) -> None:
        """Write the record to the run's folder."""
        storage.write(storage.path("checkpoints", self.name, self.FILE), json.dumps(asdict(self), indent=2).encode())

    @classmethod
    def read(cls, storage: Storage, name: str) -> Self | None:
        """Return the record of the run of this name, or None if it has none of this kind."""
        text = storage.read(storage.path("checkpoints", name, cls.FILE))
        return None if text is None else cls(**json.loads(text))

    def done(self, storage: Storage, version: int) -> None:
        """Record the registered version; the run cannot be resumed any more."""
        replace(self, version=version).write(storage)

    def check_unchanged(self, **digests: str) -> None:
        """Raise NoSuchRun if data have changed since the run started: digests by the record's field."""
        for what, now in digests.items():
            if getattr(self, what) != now:
                raise NoSuchRun(
                    f"--resume {self.name}: the {what} have changed since the run started, so it cannot be resumed. "
                    "Start a new run without --resume."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerRun(RunRecord):
    """A run of `rayreel train`."""

    FILE = "run.json"
    features: str
    interactions: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRun(RunRecord):
    """A run of `rayreel train-action`: the name of its encoder, where its clips are listed, and their digest."""

    FILE = "action.json"
    encoder: str
    catalog: str
    clips: str


Record = TypeVar("Record", bound=RunRecord)


def find_run(storage: Storage, name: str, kind: type[Record]) -> Record:
    """Return the run of this kind and name, or the newest unfinished run of the kind for `last`.

    Raises NoSuchRun if there is none, or if the run is already registered.
    """
    folders = storage.folders(storage.path("checkpoints"))
    known = [record for record in (kind.read(storage, each) for each in folders) if record is not None]
    found = [record for record in reversed(known) if name in {LAST, record.name}]
    unfinished = [record for record in found if record.version is None]
    if unfinished:
        return unfinished[0]
    if name != LAST and found:
        raise NoSuchRun(
            f"--resume {name}: this run is complete and registered as version {found[0].version}. Start a new run "
            "without --resume."
        )
    existing = ", ".join(record.name for record in known) or "none"
    raise NoSuchRun(f"--resume {name}: no unfinished run of that name below {storage.root}. Existing runs: {existing}.")
