"""Turn a catalog of videos into a feature store."""

from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from command import ConfigFile, Sets, StorageRoot, console, facts, finish, run, step, store_name, use_ray
from rayreel.catalog.read import Catalog, read_catalog
from rayreel.encoders.load import load_encoders
from rayreel.features.extract import ExtractReport, extract
from rayreel.features.key import EncoderKey
from rayreel.features.pipeline import Pipeline
from rayreel.features.store import FeatureStore, NoFeatures, open_store
from rayreel.settings import Settings, load_settings


def main(
    catalog: Annotated[str, typer.Option(help="Folder of videos, or a .csv, .tsv, .jsonl or .parquet manifest.")],
    preset: Annotated[str | None, typer.Option(help="Encoders: laptop or standard (encoders.preset).")] = None,
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
    rows = read_catalog(catalog)
    report = extract_features(settings, rows)
    finish(
        f"features and quarantine below {settings.place.root}",
        f"python jobs/train.py --storage {settings.storage}",
    )
    if report.rows == report.quarantined:
        raise typer.Exit(1)


def extract_features(settings: Settings, rows: Catalog) -> ExtractReport:
    """Bring the feature store up to date with the catalog and show what happened."""
    step(f"Extracting {len(rows)} rows of {rows.source} with preset {settings.encoders.preset}")
    use_ray()
    store = open_or_make(settings)
    pipeline = Pipeline(settings.encoders, settings.limits, settings.extract, settings.weights_cache)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("extracting", total=len(rows))
        report = extract(rows, store, pipeline, lambda done, total: bar.update(task, completed=done, total=total))
    console.print(closing_table(report))
    show_quarantine(store)
    return report


def open_or_make(settings: Settings) -> FeatureStore:
    """The store of the configured encoders; the first time, the encoders are loaded to learn their widths."""
    try:
        return open_store(settings.place, store_name(settings))
    except NoFeatures:
        encoders = load_encoders(settings.encoders, settings.weights_cache)
        key = EncoderKey(
            identities=encoders.identities,
            dims=encoders.dims,
            frame_size=encoders.visual.frame_size,
            sampling=settings.sampling,
        )
        return FeatureStore(settings.place, key)


def closing_table(report: ExtractReport) -> Table:
    """What became of every row, and how fast."""
    rows = {"rows in": report.rows, "extracted": report.extracted, "unchanged": report.unchanged}
    rows |= {f"quarantined: {reason}": count for reason, count in sorted(report.reasons.items())}
    rate = f"{report.videos_per_s:.1f}" if report.extracted else "-"
    return facts("Extraction", rows | {"seconds": f"{report.seconds:.1f}", "videos/s": rate})


def show_quarantine(store: FeatureStore, most: int = 10) -> None:
    """Name the first videos in quarantine and why they are there."""
    bad = store.quarantined()
    for row in bad.slice(0, most).to_pylist():
        console.print(
            f"  quarantined [bold]{row['video_id'] or '(no id)'}[/]: {row['reason']}: {row['detail']}", highlight=False
        )
    if bad.num_rows > most:
        console.print(f"  … and {bad.num_rows - most} more")


if __name__ == "__main__":
    run(main)
