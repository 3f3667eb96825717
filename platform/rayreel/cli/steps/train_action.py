"""Training a visual encoder on labelled clips: tracked in MLflow, resumable, with a report of its classes."""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rayreel.catalog.read import Catalog, read_catalog
from rayreel.catalog.source import is_remote
from rayreel.cli.output import console, facts, next_command, note, step
from rayreel.cli.steps.counted import counted
from rayreel.cli.steps.evaluate import terminal_table
from rayreel.cli.steps.extract import show_left_out
from rayreel.cli.steps.ray_session import use_ray
from rayreel.cli.steps.train import flat
from rayreel.evaluation.classification_page import (
    class_table,
    classification_markdown,
    classification_page,
    confusion_table,
    summary,
)
from rayreel.settings import Settings
from rayreel.training.action.clips import ClipStore
from rayreel.training.action.data import digest_of, list_clips
from rayreel.training.action.decode import decode_clips
from rayreel.training.action.loop import ActionJob
from rayreel.training.action.register import MODEL, Registered, check_new_name, register_action
from rayreel.training.action.train import TrainedAction, train_action
from rayreel.training.journal import EpochMetrics, Journal
from rayreel.training.runs import EncoderRun, find_run
from rayreel.training.tracking import log_folder, tracked, use_tracking

PARTS = ("train", "validation", "test")
REPORT = "report"


@dataclass(frozen=True, slots=True)
class RegisteredEncoder:
    """A trained encoder with its place in the registry; `unusable` counts clips that were left out, by reason."""

    name: str
    catalog: str
    registered: Registered
    trained: TrainedAction
    unusable: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the result for --json."""
        found = {"encoder": self.name, "folder": self.registered.folder, "model": MODEL}
        found |= {"version": str(self.registered.version)}
        clips = {name: dict(zip(PARTS, counts, strict=True)) for name, counts in self.trained.counts.items()}
        measured = {"metrics": self.trained.metrics, "clips": clips, REPORT: asdict(self.trained.report)}
        return found | measured | {"unusable": self.unusable}


def train_encoder(settings: Settings, rows: Catalog, name: str) -> RegisteredEncoder:
    """Decode the clips, train on them, track the run and register the encoder."""
    check_new_name(settings.place, name)
    job, unusable = _prepare(settings, rows)
    run_name = datetime.now(UTC).strftime("train-action-%Y%m%d-%H%M%S")
    config = settings.model_dump(mode="json")
    parameters = {"encoder": name, "clips": job.clips.num_rows, **flat({"action": config["action"]})}
    step(f"Training {name}: at most {settings.action.epochs} epochs, {settings.action.workers} workers ({run_name})")
    with tracked(settings.place, run_name, parameters, config, remedy=_remedy(settings, run_name)) as run_id:
        record = EncoderRun(
            name=run_name,
            run_id=run_id,
            settings=config,
            encoder=name,
            catalog=_lasting(rows.source),
            clips=digest_of(job.clips),
        )
        record.write(settings.place)
        return _train_and_register(settings, job, record, unusable)


def resume_encoder(settings: Settings, name: str) -> RegisteredEncoder:
    """Continue an interrupted run in its MLflow run. Of `settings`, only the storage root is used."""
    record = find_run(settings.place, name, EncoderRun)
    encoders = {**record.settings["encoders"], "storage": None}
    original = Settings(**{**record.settings, "storage": settings.storage, "encoders": encoders})
    rows = read_catalog(record.catalog, original.limits)
    record.check_unchanged(clips=digest_of(list_clips(rows.videos, original.splits.group_by)))
    job, unusable = _prepare(original, rows)
    step(f"Continuing {record.name}: at most {original.action.epochs} epochs, {original.action.workers} workers")
    remedy = _remedy(original, record.name)
    with tracked(original.place, record.name, {}, {}, run_id=record.run_id, remedy=remedy):
        return _train_and_register(original, job, record, unusable)


def _prepare(settings: Settings, rows: Catalog) -> tuple[ActionJob, Counter[str]]:
    """Decode the clips that are not in the clip store yet. Return the job, and the numbers of unusable clips."""
    listed = list_clips(rows.videos, settings.splits.group_by)
    step(f"Decoding {listed.num_rows} clips of {rows.source}")
    show_left_out(rows)
    use_ray()
    with counted("decoding") as progress:
        store = ClipStore(settings.place.root, settings.action)
        unusable = Counter(problem.reason.value for problem in rows.problems)
        unusable += decode_clips(rows.videos, store, settings.limits, settings.extract, progress)
    if unusable:
        console.print(facts("Not usable", dict(unusable)))
    return ActionJob(settings.place.root, listed, settings.action, settings.splits), unusable


def _train_and_register(
    settings: Settings, job: ActionJob, record: EncoderRun, unusable: Counter[str]
) -> RegisteredEncoder:
    place, journal, uri = settings.place, Journal(settings.place.root, record.name), use_tracking(settings.place)
    trained = train_action(job, record.encoder, record.name, [EpochMetrics(journal, uri, record.run_id)])
    journal.deliver(uri, record.run_id)
    _show(trained)
    registered = register_action(trained, place, record.run_id)
    _write_report(settings, _report_files(trained, journal), registered.folder)
    record.done(place, registered.version)
    return RegisteredEncoder(record.encoder, record.catalog, registered, trained, dict(unusable))


def _show(trained: TrainedAction) -> None:
    for table in (class_table(trained.report, trained.counts), confusion_table(trained.report)):
        console.print(terminal_table(table, console.width))
    note(summary(trained.report))
    if trained.left_out:
        note(f"Left out because none of their clips is in the training set: {', '.join(trained.left_out)}")
    console.print(facts("Best epoch", {key: f"{value:.4g}" for key, value in trained.metrics.items()}))


def _report_files(trained: TrainedAction, journal: Journal) -> dict[str, str]:
    """Return the contents of the report's files by name."""
    report, about = trained.report, f"Encoder {trained.facts.name}"
    history, best = journal.history(), int(trained.metrics["best/epoch"])
    content = {"encoder": trained.facts.name, "metrics": trained.metrics, "history": history, **asdict(report)}
    return {
        f"{REPORT}.md": classification_markdown(report, trained.counts, about),
        f"{REPORT}.json": json.dumps(content, indent=1),
        f"{REPORT}.html": classification_page(report, history, best, about),
    }


def _write_report(settings: Settings, files: Mapping[str, str], folder: str) -> None:
    """Write the report next to the encoder, and add it to the active MLflow run."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in files.items():
            (Path(scratch) / name).write_text(text)
            settings.place.write(f"{folder}/{name}", text.encode())
        log_folder(Path(scratch), REPORT)


def _lasting(source: str) -> str:
    """Return a catalog's address in a form that is valid in any working directory."""
    return source if is_remote(source) else str(Path(source).absolute())


def _remedy(settings: Settings, name: str) -> str:
    resume = next_command("train-action", settings, None, [], "--resume", name)
    return f"The trained epochs are kept. When MLflow is back, continue and register with: {resume}"
