"""Training a visual encoder on labelled clips."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.progress import Progress
from rich.table import Table

from rayreel.catalog.read import Catalog
from rayreel.cli.output import console, facts, note, step
from rayreel.cli.steps.extract import show_left_out
from rayreel.cli.steps.ray_session import use_ray
from rayreel.cli.steps.train import flat
from rayreel.settings import Settings
from rayreel.training.action.clips import ClipStore
from rayreel.training.action.data import list_clips
from rayreel.training.action.decode import decode_clips
from rayreel.training.action.loop import ActionJob
from rayreel.training.action.register import MODEL, Registered, check_new_name, register_action
from rayreel.training.action.train import TrainedAction, train_action
from rayreel.training.journal import EpochMetrics, Journal
from rayreel.training.tracking import tracked, use_tracking

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class RegisteredEncoder:
    """A trained encoder with its place in the registry; `unusable` counts clips that were left out, by reason."""

    name: str
    registered: Registered
    trained: TrainedAction
    unusable: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the result for --json."""
        found = {"encoder": self.name, "folder": self.registered.folder, "model": MODEL}
        found |= {"version": str(self.registered.version)}
        trained = self.trained
        classes = {
            name: {**dict(zip(PARTS, counts, strict=True)), "recognised": _right(trained, row)}
            for row, (name, counts) in enumerate(trained.counts.items())
        }
        return found | {"metrics": trained.metrics, "classes": classes, "unusable": self.unusable}


def train_encoder(settings: Settings, rows: Catalog, name: str) -> RegisteredEncoder:
    """Decode the clips, train on them, track the run and register the encoder."""
    check_new_name(settings.place, name)
    listed = list_clips(rows.videos, settings.splits.group_by)
    step(f"Decoding {listed.num_rows} clips of {rows.source}")
    show_left_out(rows)
    unusable = _decode(settings, rows)
    job = ActionJob(settings.place.root, listed, settings.action, settings.splits)
    step(f"Training {name}: at most {settings.action.epochs} epochs, {settings.action.workers} workers")
    return _train_and_register(settings, job, name, unusable)


def _decode(settings: Settings, rows: Catalog) -> Counter[str]:
    """Decode the clips that are not in the clip store yet. Return the numbers of unusable clips by reason."""
    use_ray()
    with _live_progress("decoding") as progress:
        store = ClipStore(settings.place.root, settings.action)
        unusable = Counter(problem.reason.value for problem in rows.problems)
        unusable += decode_clips(rows.videos, store, settings.limits, settings.extract, progress)
    if unusable:
        console.print(facts("Not usable", dict(unusable)))
    return unusable


def _train_and_register(settings: Settings, job: ActionJob, name: str, unusable: Counter[str]) -> RegisteredEncoder:
    place = settings.place
    run_name = datetime.now(UTC).strftime("train-action-%Y%m%d-%H%M%S")
    config = settings.model_dump(mode="json")
    parameters = {"encoder": name, "clips": job.clips.num_rows, **flat({"action": config["action"]})}
    remedy = f"If training had finished, encoder {name} exists and can be used; it is only missing in the registry."
    with tracked(place, run_name, parameters, config, remedy=remedy) as run_id:
        journal, uri = Journal(place.root, run_name), use_tracking(place)
        trained = train_action(job, name, run_name, [EpochMetrics(journal, uri, run_id)])
        console.print(class_table(trained))
        if trained.left_out:
            note(f"Left out because none of their clips is in the training set: {', '.join(trained.left_out)}")
        console.print(facts("Best epoch", {key: f"{value:.4g}" for key, value in trained.metrics.items()}))
        registered = register_action(trained, place, {"run": run_id})
        journal.deliver(uri, run_id)
    return RegisteredEncoder(name, registered, trained, dict(unusable))


def class_table(trained: TrainedAction) -> Table:
    """Return a table of the clips of each class in each part of the split, and of the recognised test clips."""
    table = Table("class", *PARTS, "recognised", title="Clips", title_justify="left")
    for row, (name, counts) in enumerate(trained.counts.items()):
        recognised = f"{_right(trained, row)} of {counts[2]}" if counts[2] else "none"
        table.add_row(name, *(str(count) for count in counts), recognised)
    return table


def _right(trained: TrainedAction, row: int) -> int:
    return int(trained.confusion_KK[row, row])


@contextmanager
def _live_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar; yields a function of the work done and the total."""
    with Progress(console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
