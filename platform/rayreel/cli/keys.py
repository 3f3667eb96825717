"""`rayreel keys`: create, list and revoke the API keys of the service."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.cli.output import console, emit, note
from rayreel.settings import Settings, load_settings

if TYPE_CHECKING:
    from rayreel.access.keyfile import KeyFile
    from rayreel.access.keys import Key

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Create, list and revoke the API keys of the service. A running service notices a change within a second.",
)
DAY_S = 86_400
_SCOPES = typer.Option(
    help="read: recommend and look up. write: also events, and add and delete videos. "
    "admin: also delete users and all videos."
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what uses the key.")],
    scope: Annotated[str, _SCOPES] = "read",
    days: Annotated[float | None, typer.Option(help="Days until it expires.", show_default="never", min=0)] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, once."""
    from rayreel.access.keys import Scope, new_key

    if scope.upper() not in Scope.__members__:
        raise typer.BadParameter(f"{scope!r} is not one of {', '.join(s.name.lower() for s in Scope)}")
    text, key = new_key(name, Scope[scope.upper()], None if days is None else time.time() + days * DAY_S)
    _file(load_settings(config, sets or [], storage)).add(key)
    if as_json:
        emit(_as_dict(key) | {"key": text})
    else:
        typer.echo(text)
    typer.echo(f"Store it now: it is not shown again. Clients send `Authorization: Bearer {text[:15]}…`.", err=True)


@app.command("list")
def list_keys(
    config: ConfigFile = None, sets: Sets = None, storage: StorageRoot = None, as_json: AsJson = False
) -> None:
    """List the keys, without their secrets."""
    table = Table("id", "name", "scope", "created", "valid until")
    now, keys = time.time(), _file(load_settings(config, sets or [], storage)).read()
    for key in keys:
        until = "no end" if key.expires_at is None else _moment(key.expires_at)
        style = None if key.is_valid(now) else "dim"
        table.add_row(key.id, key.name, key.scope.name.lower(), _moment(key.created_at), until, style=style)
    console.print(table)
    emit({"keys": [_as_dict(key) | {"valid": key.is_valid(now)} for key in keys]})


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id that `list` shows.")],
    after_hours: Annotated[
        float, typer.Option(help="Keep the key valid for this many hours, for rotation.", min=0)
    ] = 0.0,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key, now or later.

    To rotate a key: create a new one, revoke the old one with --after-hours 24, and hand out the new one.
    """
    key = _file(load_settings(config, sets or [], storage)).expire(key_id, time.time() + after_hours * 3600)
    assert key.expires_at is not None
    note(f"{key.id} ({key.name}) is valid until {_moment(key.expires_at)}")
    emit(_as_dict(key))


def _file(settings: Settings) -> "KeyFile":
    from rayreel.access.keyfile import KeyFile

    return KeyFile(settings.place, settings.serve.keys_file)


def _as_dict(key: "Key") -> dict[str, Any]:
    moments = {"created_at": key.created_at, "expires_at": key.expires_at}
    return {"id": key.id, "name": key.name, "scope": key.scope.name.lower()} | {
        name: None if seconds is None else datetime.fromtimestamp(seconds, UTC) for name, seconds in moments.items()
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
