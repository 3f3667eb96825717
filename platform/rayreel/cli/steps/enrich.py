"""Asking a language model about videos, with live progress and what it cost."""

from dataclasses import asdict
from typing import Any

from rayreel.catalog.interactions import read_interactions
from rayreel.cli.output import console, emit, facts, note, step
from rayreel.cli.steps.counted import counted
from rayreel.encoders.registry import Modality
from rayreel.enrichment.answers import Answers
from rayreel.enrichment.config import EnrichConfig
from rayreel.enrichment.enrich import EnrichmentPlan, EnrichReport, enrich
from rayreel.enrichment.store import Encode, reads_answers, store_answers
from rayreel.enrichment.subjects import read_subjects, stores_of
from rayreel.media.pictures import Pictures
from rayreel.settings import OtherEncoders, Settings, SettingsError

_SHOWN_FAILURES = 10


def enrich_videos(settings: Settings, limit: int | None) -> dict[str, Any]:
    """Ask about the videos, store what was answered and show the result; returns its numbers.

    Raises EndpointStopped after storing, if the endpoint ended the run.
    """
    config, place = settings.enrich, settings.place
    encode, plan = _encode_texts(settings), _plan(settings)
    count = min(len(plan.todo), limit or len(plan.todo))
    step(f"Asking {config.model} at {config.url} about {count} videos")
    with counted("asking") as progress:
        report = enrich(plan, config, place, limit=limit, progress=progress)
    written = store_answers(place, EnrichmentPlan.of(plan.subjects, config, Answers(place)).found, config, encode)
    _show(report, config)
    if report.stopped is not None:
        raise report.stopped
    left_out = {"stopped"}
    return {**{name: value for name, value in asdict(report).items() if name not in left_out}, "written": written}


def estimate_costs(settings: Settings, limit: int | None) -> None:
    """Show how many requests are needed and what they use at most."""
    config, plan = settings.enrich, _plan(settings)
    count = min(len(plan.todo), limit or len(plan.todo))
    sent, received = plan.estimate(config, Pictures(settings.place), limit)
    result = {"requests": count, "sent": sent, "received": received, "cost": config.cost(sent, received)}
    rows: dict[str, Any] = {"requests": count, "tokens sent, at most": sent, "tokens received, at most": received}
    console.print(
        facts("Estimate", {**rows, **({"cost, at most": f"{result['cost']:.2f}"} if _priced(config) else {})})
    )
    emit(result)


def _encode_texts(settings: Settings) -> dict[str, Encode]:
    """Return how texts are encoded again in the stores that read answers. Raises OtherEncoders for other settings."""
    keys = [str(store.key) for store in stores_of(settings.place) if reads_answers(store)]
    if not keys:
        return {}
    if others := set(keys) - {settings.encoder_key}:
        raise OtherEncoders(
            f"The features of {', '.join(sorted(others))} read what a language model writes, and these settings have "
            "other encoders: pass the encoders.* that they were extracted with, or delete their folder in features/."
        )
    from rayreel.encoders.load import load_encoder
    from rayreel.features.encoding import with_text_vectors

    encoder = load_encoder(Modality.TEXT, settings.encoders, settings.weights_cache)
    weights = settings.encoders.text_weights
    return {settings.encoder_key: lambda rows: with_text_vectors(rows, encoder, weights)}


def _plan(settings: Settings) -> EnrichmentPlan:
    config, place = settings.enrich, settings.place
    if config.max_views is not None and settings.interactions is None:
        raise SettingsError("enrich.max_views needs --interactions, which say how often a video was watched.")
    views = None if settings.interactions is None else read_interactions(settings.interactions)
    return EnrichmentPlan.of(read_subjects(place, views, config.max_views), config, Answers(place))


def _priced(config: EnrichConfig) -> bool:
    return bool(config.price_in or config.price_out)


def _show(report: EnrichReport, config: EnrichConfig) -> None:
    rows: dict[str, Any] = {"videos": report.videos, "answered earlier": report.known, "answered now": report.enriched}
    rows |= {"nothing known of them": report.nothing_known} if report.nothing_known else {}
    rows |= {"failed": len(report.failed), "left": report.left}
    rows |= {"tokens sent": report.sent, "tokens received": report.received}
    rows |= {"cost": f"{report.cost:.4f}"} if _priced(config) else {}
    console.print(facts("Enrichment", rows))
    for video_id, why in list(report.failed.items())[:_SHOWN_FAILURES]:
        note(f"  {video_id}: {why}")
    if len(report.failed) > _SHOWN_FAILURES:
        note(f"  … and {len(report.failed) - _SHOWN_FAILURES} more failed")
    if report.budget_used_up:
        note(
            f"The budget is used up, {report.left} videos are left. Run again, or raise enrich.max_tokens or max_cost."
        )
