"""Bringing the feature store up to date with a catalog, with live progress."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rayreel.catalog.read import Catalog
from rayreel.cli.output import console, facts, note, step
from rayreel.cli.steps.ray_session import use_ray
from rayreel.encoders.adopted import ADOPTED, adopted_encoders
from rayreel.encoders.load import licences
from rayreel.features.compact import compact
from rayreel.features.extract import ExtractReport, extract
from rayreel.features.ideal import Ideal
from rayreel.features.opening import open_or_make
from rayreel.features.report import Throughput
from rayreel.features.store import FeatureStore
from rayreel.settings import OtherEncoders, Settings
from rayreel.speech.config import SpeechConfig
from rayreel.speech.find import EXTRA, Speech

# A run of fewer videos has no steady state.
ENOUGH_FOR_EFFICIENCY = 200


def extract_features(
    settings: Settings,
    rows: Catalog,
    *,
    retry_quarantined: bool = False,
    max_failures: int | None = None,
    adding: bool = False,
) -> ExtractReport:
    """Bring the feature store up to date with the catalog and show the result."""
    step(f"Extracting {len(rows)} rows of {rows.source} with preset {settings.encoders.preset}")
    show_left_out(rows)
    check_adopted(settings)
    use_ray()
    store = store_of(settings)
    for name, licence in licences(settings.encoders, settings.weights_cache).items():
        note(f"Encoder {name}: licence {licence}.")
    pipeline = settings.pipeline
    if shortage := pipeline.capacity().shortage:
        note(shortage)
    note(speech_line(settings.speech, pipeline.speech))
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
    if report.extracted >= ENOUGH_FOR_EFFICIENCY and (ideal := Ideal.of(report.throughput)):
        console.print(efficiency_line(report, ideal), highlight=False)
    show_quarantine(store)
    return report


def check_adopted(settings: Settings) -> None:
    """Raise OtherEncoders if the features would not be for the release whose encoders were adopted."""
    adopted = adopted_encoders(settings.place.root)
    if adopted is not None and adopted.names != settings.encoders.resolve():
        chosen = " ".join(f"--set encoders.{modality.value}={name}" for modality, name in adopted.names.items())
        raise OtherEncoders(
            f"Release {adopted.release} has other encoders than these settings, adopted with `rayreel encoders adopt`, "
            f"and would not get these features. Pass {chosen}, or remove encoders.* from your settings. To extract for "
            f"another release nevertheless, delete {settings.place.uri(ADOPTED)}."
        )


def store_of(settings: Settings) -> FeatureStore:
    """Return the store of the configured encoders; the first time, the encoders are loaded to learn their widths."""
    return open_or_make(settings.place, settings.encoders, settings.sampling, settings.weights_cache)


def speech_line(config: SpeechConfig, found: Speech | None) -> str:
    """Say whether speech is recognised, and why not."""
    if found is not None:
        return f"Speech: {config.model}, mode {config.mode}."
    if config.mode == "off":
        return "Speech: off."
    return f"Speech: off, as {config.model} is not here. `{EXTRA}` and --set speech.mode=on download it."


@contextmanager
def live_progress() -> Iterator[Callable[[Throughput, int], None]]:
    """Show a progress bar with rates, the queue before the encoders, and the stage that limits the run."""
    rates = TextColumn("{task.fields[rates]}")
    columns = (TextColumn("extracting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), rates)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("extracting", total=None, rates="starting")

        def show(now: Throughput, todo: int) -> None:
            rates = rates_line(now) if now.videos_per_s else "starting"
            bar.update(task, completed=now.videos, total=todo, rates=rates)

        yield show


def rates_line(now: Throughput) -> str:
    """Return the rates of a run in steady state, the stage that limits it and how close it is to that limit."""
    rates = f"{now.videos_per_s:.1f} videos/s · {now.frames_per_s:.0f} frames/s · {now.queue:.0f} queued"
    ideal = Ideal.of(now)
    return f"{rates} · {ideal.limit} limits, efficiency {ideal.efficiency(now):.2f}" if ideal else rates


def efficiency_line(report: ExtractReport, ideal: Ideal) -> str:
    """Return how close the run came to the limit of the hardware."""
    speech = f"speech {ideal.transcribe_ms:.1f} ms, " if ideal.transcribe_rate else ""
    run, where = report.throughput, f"{ideal.cores} cores" + (f", {ideal.gpus:g} GPUs" if ideal.gpus else "")
    return (
        f"efficiency {ideal.efficiency(run):.2f}: decoding {run.decoded:.0f} and encoding {run.encoded:.0f} videos "
        f"took {run.seconds:.1f} s in steady state; the hardware allows {ideal.videos_per_s:.1f} videos/s, "
        f"{ideal.limit} limits "
        f"({where}; decode {ideal.decode_core_ms:.1f} ms, {speech}encode {ideal.encode_ms:.1f} ms per video)"
    )


def closing_table(report: ExtractReport) -> Table:
    """Return a table of the outcome of every row, and the rates."""
    rows: dict[str, int | str] = {"rows in": report.rows, "extracted": report.extracted}
    amended = {"deleted over the API": report.deleted, "replaced over the API": report.replaced}
    rows |= {"of these without a video": report.without_video} if report.without_video else {}
    rows |= {"of these for their speech only": report.retold} if report.retold else {}
    rows["unchanged"] = report.unchanged
    rows |= {name: count for name, count in amended.items() if count}
    rows |= {f"quarantined: {reason}": count for reason, count in sorted(report.reasons.items())}
    rows |= {"in quarantine, indexed by text": report.text_fallback} if report.text_fallback else {}
    rows["seconds"] = f"{report.seconds:.1f}"
    if report.throughput.videos_per_s:
        rows["videos/s in steady state"] = f"{report.throughput.videos_per_s:.1f}"
        rows["frames/s in steady state"] = f"{report.throughput.frames_per_s:.0f}"
    if report.throughput.sound_s:
        cost = report.throughput.transcribe_cost_s / report.throughput.sound_s
        rows["speech, s per s of sound"] = f"{cost:.3f} of {report.throughput.sound_s:.0f} s"
    return facts("Extraction", rows)


def as_dict(report: ExtractReport) -> dict[str, Any]:
    """Return the numbers of the closing table for --json."""
    steady = report.throughput
    return {
        "rows": report.rows,
        "extracted": report.extracted,
        "unchanged": report.unchanged,
        "deleted": report.deleted,
        "replaced": report.replaced,
        "quarantined": report.quarantined,
        "without_video": report.without_video,
        "text_fallback": report.text_fallback,
        "retold": report.retold,
        "reasons": dict(sorted(report.reasons.items())),
        "seconds": report.seconds,
        "videos_per_s": steady.videos_per_s or None,
        "frames_per_s": steady.frames_per_s or None,
    }


def show_left_out(rows: Catalog) -> None:
    """List what the catalog's source contains besides its rows."""
    for line in rows.left_out.lines():
        note(f"  left out: {line}")


def show_quarantine(store: FeatureStore, most: int = 10) -> None:
    """List the first videos in quarantine with their reasons."""
    quarantined = store.quarantined()
    for row in quarantined.slice(0, most).to_pylist():
        note(f"  quarantined {row['video_id'] or '(no id)'}: {row['reason']}: {row['detail']}")
    if quarantined.num_rows > most:
        note(f"  … and {quarantined.num_rows - most} more")
