"""Make, list and revoke the API keys of the service. A running service notices within a second."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from command import ConfigFile, Sets, StorageRoot, console, run_app
from rayreel.access.keyfile import KeyFile
from rayreel.access.keys import Scope, new_key
from rayreel.settings import Settings, load_settings

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="rich", help=__doc__)
DAY_S = 86_400
_SCOPES = typer.Option(help="read: recommend and look. write: also add and delete videos. admin: also delete all.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what uses the key.")],
    scope: Annotated[str, _SCOPES] = "read",
    days: Annotated[float | None, typer.Option(help="Days until it expires. [default: never]", min=0)] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Make a key and print it, this once."""
    if scope.upper() not in Scope.__members__:
        raise typer.BadParameter(f"{scope!r} is not one of {', '.join(s.name.lower() for s in Scope)}")
    text, key = new_key(name, Scope[scope.upper()], None if days is None else time.time() + days * DAY_S)
    _file(load_settings(config, sets or [], storage)).add(key)
    typer.echo(text)
    typer.echo(f"Keep it: it is shown only now. Clients send `Authorization: Bearer {text[:15]}…`.", err=True)


@app.command("list")
def list_keys(config: ConfigFile = None, sets: Sets = None, storage: StorageRoot = None) -> None:
    """Show the keys, never their secrets."""
    table = Table("id", "name", "scope", "made", "counts until")
    now = time.time()
    for key in _file(load_settings(config, sets or [], storage)).read():
        until = "no end" if key.expires_at is None else _moment(key.expires_at)
        style = None if key.is_valid(now) else "dim"
        table.add_row(key.id, key.name, key.scope.name.lower(), _moment(key.created_at), until, style=style)
    console.print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    after_hours: Annotated[float, typer.Option(help="Let it count this much longer, for rotation.", min=0)] = 0.0,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """End a key, now or soon. To rotate: create the new one, revoke the old one --after-hours 24, hand out the new."""
    key = _file(load_settings(config, sets or [], storage)).expire(key_id, time.time() + after_hours * 3600)
    assert key.expires_at is not None
    console.print(f"{key.id} ({key.name}) counts until {_moment(key.expires_at)}", highlight=False)


def _file(settings: Settings) -> KeyFile:
    return KeyFile(settings.place, settings.serve.keys_file)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


if __name__ == "__main__":
    run_app(app)
