"""The job that `POST /v1/videos/batch` and `POST /v1/quarantine/retry` submit: `python -m serve_apps.add_catalog …`.

It accepts the same settings as the commands in jobs/. `GET /v1/jobs/{id}` shows its output.
"""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
import typer

from rayreel.catalog.read import Catalog, read_catalog
from rayreel.errors import RayreelError
from rayreel.features.compact import compact
from rayreel.features.extract import ExtractReport, extract
from rayreel.features.opening import open_or_make
from rayreel.features.report import Throughput
from rayreel.features.retrying import quarantined_catalog
from rayreel.features.store import FeatureStore
from rayreel.release.site import Candidate
from rayreel.settings import Settings, load_settings
from rayreel.training.tracking import use_tracking
from serve_apps.notify import bring_service_up_to_date

MOST_SHOWN = 10
PROGRESS_S = 5.0


class NothingAdded(RayreelError):
    """No video of the catalog is usable, or no release serves yet."""


def main(
    catalog: Annotated[
        str | None, typer.Option(help="Folder of videos, or a .csv, .tsv, .jsonl or .parquet manifest.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Without a catalog: a video_id in quarantine, by default all."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings.")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="One setting: part.key=value.")] = None,
    storage: Annotated[str | None, typer.Option(help="Folder or s3:// URI of all state.")] = None,
) -> None:
    """Extract the videos of a catalog or, without one, of the quarantine; bring the serving release up to date."""
    settings = load_settings(config, sets or [], storage)
    rows = None if catalog is None else read_catalog(catalog, settings.limits)
    _join_ray()
    use_tracking(settings.place)
    version = settings.site().champion()
    settings = settings if version is None else settings.of_release(version)
    store = open_or_make(settings.place, settings.encoders, settings.sampling, settings.weights_cache)
    _extract(settings, store, quarantined_catalog(store, only or []) if rows is None else rows, retry=rows is None)
    _update_release(settings)


def _join_ray() -> None:
    """Join the cluster that the job was submitted to. Ray's own messages are kept out of the job's output."""
    ray.init(log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _extract(settings: Settings, store: FeatureStore, rows: Catalog, *, retry: bool) -> None:
    report = extract(rows, store, settings.pipeline, retry_quarantined=retry, adding=True, progress=_progress())
    compact(store, on=settings.extract.decode_on)
    _report(report, rows, store)
    if report.nothing_usable:
        raise NothingAdded(f"None of the {report.rows} rows is usable. See the reasons above.")


def _progress() -> Callable[[Throughput, int], None]:
    """Return a function that prints how far the extraction is, at most every few seconds."""
    printed = time.monotonic()

    def show(throughput: Throughput, count: int) -> None:
        nonlocal printed
        if time.monotonic() - printed >= PROGRESS_S:
            printed = time.monotonic()
            typer.echo(f"{throughput.videos} of {count} videos, {throughput.videos_per_s:.1f} a second")

    return show


def _report(report: ExtractReport, rows: Catalog, store: FeatureStore) -> None:
    counts = {"extracted": report.extracted, "unchanged": report.unchanged, **report.reasons}
    counts |= {"indexed by text": report.text_fallback} if report.text_fallback else {}
    typer.echo(f"{report.rows} rows: {', '.join(f'{count} {name}' for name, count in counts.items())}")
    ids = pa.array([row.video_id for part in (rows.videos, rows.problems) for row in part], pa.string())
    failed = store.quarantined()
    for row in failed.filter(pc.is_in(failed["video_id"], value_set=ids)).slice(0, MOST_SHOWN).to_pylist():
        typer.echo(f"quarantined {row['video_id'] or '(no id)'}: {row['reason']}: {row['detail']}")


def _update_release(settings: Settings) -> None:
    site = settings.site()
    version = site.champion()
    if version is None:
        raise NothingAdded("No release serves yet. The features are kept and become part of the first release.")
    done = bring_service_up_to_date(Candidate(version, site))
    typer.echo(f"release {version.number}: {done.new} new, {done.changed} changed, {done.videos} videos")


if __name__ == "__main__":
    try:
        typer.run(main)
    except RayreelError as error:
        typer.echo(f"{type(error).__name__}: {error}")
        sys.exit(1)
