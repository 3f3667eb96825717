"""Importing, exporting, showing and deleting events, without a service."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import get_args

import pyarrow as pa
import pyarrow.compute as pc

from rayreel.catalog.problem import CatalogError
from rayreel.cli.output import console, emit, facts, finish, next_command, step
from rayreel.client.events import EventType
from rayreel.errors import RayreelError
from rayreel.events.database import Database
from rayreel.events.export import FOLDER, export_interactions
from rayreel.events.forget import forget
from rayreel.events.logs import import_log, read_log
from rayreel.events.read import kept_of
from rayreel.settings import Settings

EVERYTHING = 10**9
BEST = 5.0


def import_events(settings: Settings, log: str, names: Sequence[str], kind: str | None, stars: float) -> None:
    """Import a log and print what was added."""
    table = read_log(log, dict(map(_theirs_to_ours, names)), _type_of(kind))
    if stars != BEST:
        rating = pc.cast(pc.multiply(table["rating"], BEST / stars), pa.float32())
        table = table.set_column(table.column_names.index("rating"), "rating", rating)
    if (best := pc.max(table["rating"]).as_py()) is not None and best > BEST:
        raise CatalogError(f"{log} has ratings up to {best:g}, and 5 is the best. Pass the best one with --stars.")
    step(f"Importing {len(table):,} events of {len(table['user_id'].unique()):,} users from {log}")
    with _opened(settings) as database:
        written = import_log(database, table, time.time())
    counts = {"stored": written.stored, "duplicates": written.duplicates, "of deleted users": len(written.deleted)}
    console.print(facts("Events", counts))
    finish({"log": log, "counts": counts}, "the event store", next_command("events", settings, None, (), "export"))


def export_events(settings: Settings) -> None:
    """Export the interactions and print how to train with them."""
    with _opened(settings) as database:
        step("Exporting who watched what")
        rows = export_interactions(database, settings.place)
    folder = settings.place.uri(*FOLDER)
    then = next_command("train", settings, None, (), "--interactions", folder)
    finish({"folder": folder, "rows": rows}, f"{rows:,} interactions to {folder}", then)


def show_user(settings: Settings, user_id: str) -> None:
    """Print what is kept of a user."""
    with _opened(settings) as database, database.reading() as connection:
        found = kept_of(connection, user_id, 0, EVERYTHING)
    if found is None:
        raise RayreelError(f"Nothing is kept of the user {user_id!r}. Check the id.")
    console.print_json(found[0].model_dump_json())
    emit(found[0].model_dump())


def delete_user(settings: Settings, user_id: str) -> None:
    """Delete what is kept of a user and print the receipt."""
    with _opened(settings) as database:
        receipt = forget(database, settings.place, user_id)
    console.print(facts("Deleted", receipt.model_dump()))
    emit(receipt.model_dump())


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    database = Database(settings.events, settings.place)
    try:
        yield database
    finally:
        database.close()


def _theirs_to_ours(text: str) -> tuple[str, str]:
    ours, sign, theirs = text.partition("=")
    if not sign:
        raise RayreelError(f"--name {text}: expected OURS=THEIRS, such as user_id=viewer.")
    return theirs, ours


def _type_of(kind: str | None) -> EventType | None:
    for known in get_args(EventType):
        if kind == known:
            return known  # type: ignore[no-any-return]
    if kind is not None:
        raise RayreelError(f"--type {kind}: expected one of {', '.join(get_args(EventType))}.")
    return None
