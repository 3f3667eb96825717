"""Turn a catalog of videos into a feature store."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from command import ConfigFile, Sets, StorageRoot, console, facts, finish, following, run, step, use_ray
from rayreel.catalog.read import Catalog, read_catalog
from rayreel.features.compact import compact
from rayreel.features.extract import ExtractReport, extract
from rayreel.features.ideal import Ideal, measure_ideal
from rayreel.features.opening import open_or_make
from rayreel.features.pipeline import cores
from rayreel.features.report import Throughput
from rayreel.features.store import FeatureStore
from rayreel.settings import Settings, SettingsError, load_settings

# Measuring the ideal takes some seconds; a run of fewer videos has no steady state to compare with it.
ENOUGH_FOR_EFFICIENCY = 200


def main(
    catalog: Annotated[str, typer.Option(help="Folder of videos, or a .csv, .tsv, .jsonl or .parquet manifest.")],
    add: Annotated[
        bool, typer.Option("--add", help="Add the catalog to the current one instead of replacing it.")
    ] = False,
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Try again what went to quarantine before.")
    ] = False,
    max_failures: Annotated[
        str | None, typer.Option(metavar="N|N%", help="Fail as soon as more rows than this go to quarantine.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Encoders: laptop, standard or action (encoders.preset).")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Turn a catalog of videos into a feature store: decode on CPU tasks, encode on actors, write Parquet.

    Run it again after a change or a kill: only videos that are new or changed are touched. Videos that cannot be
    used go to quarantine with a reason; they stop nothing.
    """
    given = [*(sets or []), *([f"encoders.preset={preset}"] if preset else [])]
    settings = load_settings(config, given, storage)
    rows = read_catalog(catalog, settings.limits)
    allowed = None if max_failures is None else allowed_failures(max_failures, len(rows))
    report = extract_features(settings, rows, retry_quarantined=retry_quarantined, max_failures=allowed, adding=add)
    finish(f"features and quarantine below {settings.place.root}", following("train", settings, config, given))
    if report.rows == report.quarantined:
        raise typer.Exit(1)


def extract_features(
    settings: Settings,
    rows: Catalog,
    *,
    retry_quarantined: bool = False,
    max_failures: int | None = None,
    adding: bool = False,
) -> ExtractReport:
    """Bring the feature store up to date with the catalog and show what happened."""
    step(f"Extracting {len(rows)} rows of {rows.source} with preset {settings.encoders.preset}")
    show_left_out(rows)
    use_ray()
    store = store_of(settings)
    pipeline = settings.pipeline
    with live_progress() as progress:
        report = extract(
            rows,
            store,
            pipeline,
            retry_quarantined=retry_quarantined,
            max_failures=max_failures,
            adding=adding,
            progress=progress,
        )
    compact(store, on=settings.extract.decode_on)
    console.print(closing_table(report))
    if report.extracted >= ENOUGH_FOR_EFFICIENCY:
        ideal = measure_ideal(rows.videos, store.key, pipeline, cores())
        console.print(efficiency_line(report, ideal) if ideal else "", highlight=False)
    show_quarantine(store)
    return report


@contextmanager
def live_progress() -> Iterator[Callable[[Throughput, int], None]]:
    """A progress bar with rates, the queue before the encoders, and the stage that limits."""
    rates = TextColumn("{task.fields[rates]}")
    columns = (TextColumn("extracting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), rates)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("extracting", total=None, rates="starting")

        def show(now: Throughput, todo: int) -> None:
            bar.update(
                task, completed=now.videos, total=todo, rates=rates_line(now) if now.videos_per_s else "starting"
            )

        yield show


def rates_line(now: Throughput) -> str:
    """How fast a run goes in steady state, and which stage limits it."""
    rates = f"{now.videos_per_s:.1f} videos/s · {now.frames_per_s:.0f} frames/s"
    return f"{rates} · {now.queue:.0f} queued · {now.limit} limits"


def allowed_failures(text: str, rows: int) -> int:
    """`5` rows, or `5%` of all rows."""
    try:
        return int(rows * float(text[:-1]) / 100) if text.endswith("%") else int(text)
    except ValueError:
        raise SettingsError(
            f"--max-failures {text}: expected a number of rows, such as 20, or a share, such as 5%"
        ) from None


def efficiency_line(report: ExtractReport, ideal: Ideal) -> str:
    """How near to the hardware's limit the run came."""
    run, where = report.throughput, f"{ideal.cores} cores" + (f", {ideal.gpus:g} GPUs" if ideal.gpus else "")
    return (
        f"efficiency {ideal.efficiency(run):.2f}: decoding {run.decoded} and encoding {run.encoded} videos took "
        f"{run.seconds:.1f} s in steady state; bare loops would do {ideal.videos_per_s:.1f} videos/s "
        f"({where}; decode {ideal.decode_core_ms:.1f} ms, encode {ideal.encode_ms:.1f} ms a video)"
    )


def store_of(settings: Settings) -> FeatureStore:
    """The store of the configured encoders; the first time, the encoders are loaded to learn their widths."""
    return open_or_make(settings.place, settings.encoders, settings.sampling, settings.weights_cache)


def closing_table(report: ExtractReport) -> Table:
    """What became of every row, and how fast."""
    rows: dict[str, int | str] = {"rows in": report.rows, "extracted": report.extracted, "unchanged": report.unchanged}
    amended = {"deleted over the API": report.deleted, "replaced over the API": report.replaced}
    rows |= {name: count for name, count in amended.items() if count}
    rows |= {f"quarantined: {reason}": count for reason, count in sorted(report.reasons.items())}
    rows["seconds"] = f"{report.seconds:.1f}"
    if report.throughput.videos_per_s:
        rows["videos/s in steady state"] = f"{report.throughput.videos_per_s:.1f}"
        rows["frames/s in steady state"] = f"{report.throughput.frames_per_s:.0f}"
    return facts("Extraction", rows)


def show_left_out(rows: Catalog) -> None:
    """Name what the catalog's source holds besides its rows."""
    for line in rows.left_out.lines():
        console.print(f"  left out: {line}", markup=False, highlight=False)


def show_quarantine(store: FeatureStore, most: int = 10) -> None:
    """Name the first videos in quarantine and why they are there."""
    bad = store.quarantined()
    for row in bad.slice(0, most).to_pylist():
        name = escape(row["video_id"] or "(no id)")
        console.print(f"  quarantined [bold]{name}[/]: {row['reason']}: {escape(row['detail'])}", highlight=False)
    if bad.num_rows > most:
        console.print(f"  … and {bad.num_rows - most} more")


if __name__ == "__main__":
    run(main)
