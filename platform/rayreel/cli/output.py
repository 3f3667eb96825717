"""What commands print: steps, tables, results as JSON, errors, and the command that comes next."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import typer
from pydantic_core import to_json
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rayreel.errors import RayreelError
from rayreel.redact import redacted
from rayreel.settings import Settings

console = Console(soft_wrap=True)


class JsonMode:
    """Set by --json: the stream for the result. Everything else, also what libraries print, then goes to stderr."""

    stream: TextIO | None = None


json_mode = JsonMode()

_COMMAND = re.compile(r"(?<=`)rayreel ([a-z-]+)")


def print_json(wanted: bool) -> bool:
    """Callback of --json: reserve stdout for the result."""
    console.stderr = wanted
    json_mode.stream = sys.stdout if wanted else None
    if wanted:
        sys.stdout = sys.stderr  # MLflow prints the addresses of runs
    return wanted


def emit(result: Mapping[str, Any]) -> None:
    """With --json, print the result as one JSON object on stdout; NaN and infinity become null."""
    if json_mode.stream is not None:
        typer.echo(to_json(result, inf_nan_mode="null", fallback=_scalar).decode(), file=json_mode.stream)


def step(text: str) -> None:
    """Print what the command does now, without the secrets that addresses may contain."""
    console.print(f"[bold cyan]▸[/] {escape(in_form_used(redacted(text)))}", highlight=False)


def note(text: str) -> None:
    """Print a line without markup."""
    console.print(in_form_used(text), markup=False, highlight=False)


def facts(title: str, rows: Mapping[str, Any]) -> Table:
    """Return a table of names and values."""
    table = Table(title=title, show_header=False, title_justify="left")
    for key, value in rows.items():
        table.add_row(key, escape(str(value)))
    return table


def finish(result: Mapping[str, Any], wrote: str, then: str) -> None:
    """Print what was written and what comes next; with --json, the result."""
    note(f"Wrote {wrote}")
    note(f"Next:  {redacted(then)}")
    emit(result)


def print_error(error: RayreelError) -> None:
    """Print an error as its name and its message."""
    console.print(f"[bold red]{type(error).__name__}:[/] ", end="")
    note(str(error))


def fail(error: RayreelError) -> NoReturn:
    """Print an error, with --json also as the JSON object, and exit with 1."""
    print_error(error)
    emit({"error": {"type": type(error).__name__, "message": in_form_used(str(error))}})
    sys.exit(1)


def next_command(command: str, settings: Settings, config: Path | None, sets: Sequence[str], *words: str) -> str:
    """Return the shell line of another command, with the storage root and settings of this one."""
    options = [] if config is None else ["--config", str(config)]
    options += [word for setting in sets for word in ("--set", setting)]
    return shlex.join([*program(command), *words, *options, "--storage", settings.storage])


def program(command: str) -> list[str]:
    """Return the words that run a command, in the form in which this process was started."""
    started = Path(sys.argv[0])
    if _runs_script(started):
        return ["python", f"jobs/{command.replace('-', '_')}.py"]
    as_module = started.parts[-2:] == ("rayreel", "__main__.py")
    return ["python", "-m", "rayreel", command] if as_module else ["rayreel", command]


def in_form_used(text: str) -> str:
    """Return a message with its commands, `rayreel …` in backticks, in the form in which this process was started."""
    return _COMMAND.sub(lambda found: " ".join(program(found[1])), text)


def _runs_script(started: Path) -> bool:
    return started.suffix == ".py" and started.absolute().parent.name == "jobs"


def _scalar(value: Any) -> Any:  # noqa: ANN401
    """Return a NumPy scalar as a Python number, anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)
