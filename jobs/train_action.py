"""Train a video network on labelled clips and make it a visual encoder."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from command import ConfigFile, Sets, StorageRoot, console, facts, finish, following, run, step, use_ray
from extract import show_left_out
from rayreel.catalog.read import Catalog, read_catalog
from rayreel.settings import Settings, load_settings
from rayreel.training.action.clips import ClipStore
from rayreel.training.action.data import list_clips
from rayreel.training.action.decode import decode_clips
from rayreel.training.action.loop import ActionJob
from rayreel.training.action.register import MODEL, Registered, check_new_name, register_action
from rayreel.training.action.train import TrainedAction, train_action
from rayreel.training.journal import EpochMetrics, Journal
from rayreel.training.tracking import tracked, use_tracking
from train import flat


def main(
    catalog: Annotated[str, typer.Option(help="Clips with a category each: a folder of class folders, or a manifest.")],
    name: Annotated[str | None, typer.Option(help="What to call the encoder. [default: action-DATE-TIME]")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most passes over the clips (action.epochs).")] = None,
    workers: Annotated[int | None, typer.Option(help="Data-parallel workers (action.workers).")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Train an R(2+1)D network end to end on clips, to tell their categories; without its head it is a visual encoder.

    Clips of one recording stay on one side of the split: the catalog's column splits.group_by, or the names of
    UCF101 (v_Class_gNN_cMM). Where a catalog column `split` says test, as UCF101's own lists do, those are the test.
    The best epoch is chosen on validation clips and measured once on test clips.
    """
    shortcuts = {"action.epochs": epochs, "action.workers": workers}
    given = [*(sets or []), *(f"{key}={value}" for key, value in shortcuts.items() if value is not None)]
    settings = load_settings(config, given, storage)
    name = name or datetime.now(UTC).strftime("action-%Y%m%d-%H%M%S")
    done = train_encoder(settings, read_catalog(catalog, settings.limits), name)
    finish(
        f"{done.folder}, {MODEL} version {done.version}",
        following("extract", settings, config, [*given, f"encoders.visual={name}"], "--catalog", catalog),
    )


def train_encoder(settings: Settings, rows: Catalog, name: str) -> Registered:
    """Decode, train, track and register."""
    place, action = settings.place, settings.action
    check_new_name(place, name)
    listed = list_clips(rows.videos, settings.splits.group_by)
    step(f"Decoding {listed.num_rows} clips of {rows.source}")
    show_left_out(rows)
    use_ray()
    with live_progress("decoding") as progress:
        store = ClipStore(place.root, action)
        unusable = Counter(problem.reason.value for problem in rows.problems)
        unusable += decode_clips(rows.videos, store, settings.limits, settings.extract, progress)
    if unusable:
        console.print(facts("Not usable", dict(unusable)))
    job = ActionJob(place.root, listed, action, settings.splits)
    step(f"Training {name}: at most {action.epochs} epochs, {action.workers} workers")
    run_name = datetime.now(UTC).strftime("train-action-%Y%m%d-%H%M%S")
    config = settings.model_dump(mode="json")
    parameters = {"encoder": name, "clips": listed.num_rows, **flat({"action": config["action"]})}
    remedy = f"If training was over, encoder {name} is there and can be used; only the registry lacks it."
    with tracked(place, run_name, parameters, config, remedy=remedy) as run_id:
        journal, uri = Journal(place.root, run_name), use_tracking(place)
        trained = train_action(job, name, run_name, [EpochMetrics(journal, uri, run_id)])
        console.print(class_table(trained))
        if trained.left_out:
            console.print(f"Left out, as none of their clips falls to training: {', '.join(trained.left_out)}")
        console.print(facts("Best epoch", {key: f"{value:.4g}" for key, value in trained.metrics.items()}))
        registered = register_action(trained, place, {"run": run_id})
        journal.deliver(uri, run_id)
    return registered


def class_table(trained: TrainedAction) -> Table:
    """Clips of each class in each part of the split, and how many test clips were recognised."""
    table = Table("class", "train", "validation", "test", "recognised", title="Clips", title_justify="left")
    for number, (name, counts) in enumerate(trained.counts.items()):
        right = int(trained.confusion_KK[number, number])
        table.add_row(name, *(str(count) for count in counts), f"{right} of {counts[2]}" if counts[2] else "none")
    return table


@contextmanager
def live_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that is told how much is done of how much."""
    with Progress(console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    run(main)
