"""Listing the encoders, and what is in use."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from rayreel.cli.output import console, note
from rayreel.encoders.encoder import Modality
from rayreel.encoders.known import KnownEncoder, known_encoders
from rayreel.encoders.reach import Reach, reach
from rayreel.settings import Settings


def list_known(settings: Settings) -> dict[str, Any]:
    """Show all known encoders; returns the result for --json."""
    known = known_encoders(settings.encoders)
    with ThreadPoolExecutor(len(known)) as pool:
        found = list(pool.map(lambda one: _reach(one, settings), known))
    in_use = _in_use(settings)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in ("", "encoder", "width", "licence", "presets", "reachable", "in use"):
        table.add_column(head, no_wrap=head in {"", "encoder"}, overflow="fold")
    for one, there in zip(known, found, strict=True):
        width, licence = "" if one.dim is None else str(one.dim), one.licence or "none needed"
        state = "here" if there.is_here else "yes" if there.reachable else "no"
        cells = (one.modality.value, one.name, width, licence, " ".join(one.presets), state)
        table.add_row(*map(escape, cells), ", ".join(in_use.get((one.modality, one.name), [])))
    console.print(table)
    note("With --json: where the weights are, or what each source of them answered.")
    return {"encoders": [_as_dict(one, there, in_use) for one, there in zip(known, found, strict=True)]}


def _reach(one: KnownEncoder, settings: Settings) -> Reach:
    return reach(one.modality, one.name, settings.encoders, settings.weights_cache)


def _as_dict(one: KnownEncoder, there: Reach, in_use: Mapping[tuple[Modality, str], Sequence[str]]) -> dict[str, Any]:
    found = {"reachable": there.reachable, "here": there.is_here, "weights": there.where}
    facts = {"modality": one.modality.value, "name": one.name, "dim": one.dim, "licence": one.licence or None}
    return facts | {"presets": one.presets, **found, "in_use": list(in_use.get((one.modality, one.name), []))}


def _in_use(settings: Settings) -> dict[tuple[Modality, str], list[str]]:
    """Return who uses an encoder: the settings, and the release at the alias champion."""
    used = {(modality, name): ["settings"] for modality, name in settings.encoders.resolve().items()}
    if not settings.place.folders(settings.place.path("releases")):
        return used
    from rayreel.release import registry  # MLflow takes seconds
    from rayreel.training.tracking import use_tracking

    use_tracking(settings.place)
    champion = registry.find(registry.CHAMPION)
    if champion is None:
        return used
    key = settings.place.read_json(settings.place.path("features", champion.encoder_key, "encoders.json")) or {}
    for modality, identity in key.get("identities", {}).items():
        name = str(identity).partition("+")[0].partition("@")[0].replace("torchaudio-", "torchaudio:")
        used.setdefault((Modality(modality), name), []).append(f"release {champion.number}")
    return used
