"""What all jobs share: options, the console, the running Ray, and errors in a user's words."""

import logging
import os
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand

from rayreel.durable import full_disk
from rayreel.errors import RayreelError
from rayreel.features.store import FeatureStore, open_store
from rayreel.ray_access import adopt, protect
from rayreel.redact import redacted
from rayreel.settings import Settings

ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file with settings.", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PART.KEY=VALUE", help="One setting, such as train.epochs=5. May be repeated."),
]
StorageRoot = Annotated[
    str | None,
    typer.Option("--storage", help="Folder or s3:// URI of all state. [default: $RAYREEL_STORAGE or ./storage]"),
]
Port = Annotated[int | None, typer.Option(help="Port of the HTTP service. [default: as in serve_apps/config.yaml]")]

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

console = Console(soft_wrap=True)
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


class NoCluster(RayreelError):
    """Ray could not be started or joined."""


def run(main: Callable[..., None]) -> None:
    """Run a job's main as a command; a user's error is printed in its own words and exits with 1."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.command(cls=TyperCommand, epilog=settings_help())(main)
    run_app(app)


def run_app(app: typer.Typer) -> None:
    """Run a command, or several in one; a user's error is printed in its own words and exits with 1."""
    level = os.environ.get("RAYREEL_LOG", "WARNING").upper()
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except RayreelError as error:
        tell(error)
        sys.exit(1)
    except Exception as error:
        if (full := full_disk(error)) is None:
            raise
        tell(full)
        sys.exit(1)


def tell(error: RayreelError) -> None:
    """Print an error as its name and its message."""
    console.print(f"[bold red]{type(error).__name__}:[/] ", end="")
    console.print(str(error), markup=False, highlight=False)


def settings_help() -> str:
    """The settings that --set and --config know, with their defaults."""
    lines = ["[bold]Settings[/] (--set, --config; environment RAYREEL_PART__KEY):\n"]
    for part, field in Settings.model_fields.items():
        for key, leaf in getattr(field.annotation, "model_fields", {}).items():
            lines.append(f"{part}.{key} = {leaf.default!s}: {leaf.description or ''}\n".replace("[", r"\["))
    return "\n".join(lines)


def step(text: str) -> None:
    """Say what the job does now, without the secrets of addresses in it."""
    console.print(f"[bold cyan]▸[/] {escape(redacted(text))}", highlight=False)


def facts(title: str, rows: dict[str, Any]) -> Table:
    """A table of two columns."""
    table = Table(title=title, show_header=False, title_justify="left")
    for key, value in rows.items():
        table.add_row(key, str(value))
    return table


def finish(wrote: str, following: str) -> None:
    """Say at the end what was written and what comes next."""
    console.print(f"Wrote {wrote}", markup=False, highlight=False)
    console.print(f"Next:  {redacted(following)}", markup=False, highlight=False)


def following(job: str, settings: Settings, config: Path | None, sets: Sequence[str], *words: str) -> str:
    """The command of the job that comes next, with this one's storage and settings, to be pasted into a shell."""
    given = [] if config is None else ["--config", str(config)]
    given += [word for setting in sets for word in ("--set", setting)]
    return shlex.join(["python", f"jobs/{job}.py", *words, *given, "--storage", settings.storage])


def features(settings: Settings) -> FeatureStore:
    """The feature store of the configured encoders. Raises NoFeatures before the first extraction."""
    return open_store(settings.place, settings.encoder_key)


def use_ray() -> None:
    """Join the running cluster, or start one for this process: two workers and an encoder need 4 CPUs, real or not."""
    import ray

    if not join_ray():
        protect()
        ray.init(address="local", num_cpus=max(4, os.cpu_count() or 1), include_dashboard=False, **_QUIET)
        _quiet_data()


def join_ray() -> bool:
    """Join the cluster that RAY_ADDRESS names, or else the one that `ray start` made here; False when there is none.

    Not `address="auto"`, which joins any Ray among the machine's processes, be it another user's or a test's.
    RAY_ADDRESS=local keeps a job to itself.
    """
    import ray

    if not ray.is_initialized():
        address = _cluster()
        if address is None:
            return False
        if "://" not in address and address != "auto":
            adopt(address)
        try:
            ray.init(address=address, **_QUIET)
        except ConnectionError as error:
            raise NoCluster(f"No Ray cluster answers at {address}: {error}. Start it, or unset RAY_ADDRESS.") from error
        _quiet_data()
    return True


def _cluster() -> str | None:
    from ray._private.services import find_bootstrap_address

    named = os.environ.get("RAY_ADDRESS", "")
    if named and not named.startswith("http"):  # else it is where `ray job submit` goes
        return None if named == "local" else named
    left = find_bootstrap_address(None)
    return left if left and _listens(left) else None


def _listens(address: str) -> bool:
    """A cluster that was killed has left its address behind; joining it would take minutes to fail."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _quiet_data() -> None:
    """Jobs show progress of their own."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
