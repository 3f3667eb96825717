"""Replacing the encoders of the serving release."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rayreel.cli.extract import allowed_failures
from rayreel.cli.output import console, facts, next_command, note, step
from rayreel.cli.steps.evaluate import evaluate_tower
from rayreel.cli.steps.extract import live_progress, show_quarantine, store_of
from rayreel.cli.steps.promote import as_dict as promotion_as_dict
from rayreel.cli.steps.promote import promote_tower, site_of
from rayreel.cli.steps.train import LEARNS_FROM, train_tower, trained_already
from rayreel.encoders.adopted import AdoptedEncoders
from rayreel.encoders.encoder import Modality
from rayreel.encoders.known import KnownEncoder, named_encoders
from rayreel.errors import RayreelError
from rayreel.features.compact import compact
from rayreel.features.extract import extract_like
from rayreel.features.store import FeatureStore, open_store
from rayreel.release import registry
from rayreel.release.adopt import promote_or_restore
from rayreel.release.registry import Version
from rayreel.settings import Settings, load_settings
from rayreel.training.tracking import run_config, use_tracking


class NotAdopted(RayreelError):
    """Encoders cannot be adopted. The serving release and its features are unchanged."""


def adopt_encoders(
    settings: Settings, names: Sequence[str], max_failures: str, force: str | None, config: Path | None, sets: list[str]
) -> dict[str, Any]:
    """Extract, train, evaluate and promote with other encoders; returns the result for --json.

    Raises NotAdopted, and PromotionRefused if the gates refuse the new tower.
    """
    use_tracking(settings.place)
    serving = site_of(settings).champion()
    if serving is None:
        raise NotAdopted("No release serves. Choose encoders with --set encoders.…, then extract, train and promote.")
    chosen = chosen_encoders(settings, names)
    new = settings_with(settings, run_config(serving.run_id), chosen, sets)
    choice = [one.setting for one in chosen]
    note(f"Settings of the new release: {' '.join(f'--set {each}' for each in encoder_sets(new))}")
    if new.encoder_key == serving.encoder_key:
        _keep(new, serving)  # an earlier run may have been killed before
        raise NotAdopted(f"The serving release has these encoders already: {serving.encoder_key}.")
    store = _extracted(new, open_store(new.place, serving.encoder_key), max_failures)
    before, version = registry.pointed_at(registry.CHALLENGER), trained_already(new, store)
    version = version or train_tower(new).version
    evaluate_tower(new, version)
    done = promote_or_restore(version, before, lambda: promote_tower(new, version, force))
    _keep(new, version)
    _show_next(new, serving, config, sets)
    return {"adopted": choice, "settings": encoder_sets(new), **promotion_as_dict(done)}


def chosen_encoders(settings: Settings, names: Sequence[str]) -> list[KnownEncoder]:
    """Return the encoders by name, at most one per modality. Raises NotAdopted."""
    chosen = named_encoders(",".join(names), settings.encoders, settings.weights_cache)
    for modality in Modality:
        same = [one.label for one in chosen if one.modality is modality]
        if len(same) > 1:
            raise NotAdopted(f"{', '.join(same)} are of one modality. Choose one of them.")
    return chosen


def settings_with(
    settings: Settings, trained: dict[str, Any], chosen: Sequence[KnownEncoder], sets: Sequence[str]
) -> Settings:
    """Return the settings of the serving release's training (`trained`) with the chosen encoders in place of its own.

    Parts that `sets` names are the user's.
    """
    learned = {"interactions"}.union(*LEARNS_FROM.values())
    parts = {name for name in learned if not any(s.startswith(name) for s in sets)}
    kept = {name: trained[name] for name in parts & trained.keys()}
    changed = settings.with_encoders(trained, {one.modality: one.name for one in chosen})
    return Settings(**changed.model_dump() | kept)


def encoder_sets(settings: Settings) -> list[str]:
    """Return the settings that choose the encoders, for other commands and the service."""
    return [f"encoders.{modality.value}={name}" for modality, name in settings.encoders.resolve().items()]


def _extracted(settings: Settings, serving: FeatureStore, max_failures: str) -> FeatureStore:
    """Extract the serving release's videos. Raises NotAdopted if more of them fail than allowed."""
    store = store_of(settings)
    videos = serving.read(["video_id"]).num_rows
    step(f"Extracting the {videos} videos of the serving release into {store.key}")
    with live_progress() as progress:
        failed = extract_like(serving, store, settings.pipeline, progress)
    compact(store, on=settings.extract.decode_on)
    if len(failed) > allowed_failures(max_failures, videos):
        show_quarantine(store)
        raise NotAdopted(
            f"{len(failed)} of {videos} videos of the serving release cannot be extracted again, such as {failed[0]}; "
            "a new release would not have them. The release serves as before. Restore their files, or allow it with "
            f"--max-failures {len(failed)}. What was extracted is kept."
        )
    return store


def _keep(settings: Settings, version: Version) -> None:
    """Make the encoders the default of later commands below this storage root."""
    names, key = settings.encoders.resolve(), settings.encoder_key
    AdoptedEncoders(names=names, encoder_key=key, release=version.number).keep(settings.place)


def _show_next(settings: Settings, before: Version, config: Path | None, sets: Sequence[str]) -> None:
    rows = {
        "encoders": ", ".join(encoder_sets(settings)),
        "to go back": f"{next_command('promote', settings, config, sets, '--rollback')} (release {before.number})",
    }
    console.print(facts("The encoders of the release have changed", rows))
    note("A running service follows. Commands whose settings choose no encoders use these from now on.")
    if load_settings(config, list(sets), settings.storage).encoders.resolve() != settings.encoders.resolve():
        note(f"Your settings choose others. Remove encoders.* from {config or 'them'}, or extract for another release.")
