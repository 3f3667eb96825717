"""Commands, options and settings in errors, hints and documents exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text

import submit
from benchmarks.run import app as benchmarks
from command_options import options_of
from rayreel.cli import main
from rayreel.cli.described import setting_lines

ROOT = Path(__file__).parents[1]
FOLDERS = ("platform", "serve_apps", "jobs", "benchmarks")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
# A sentence that names another program is about that program's options.
OTHERS = re.compile(r"^MLflow   |\bmlflow ui |^hf download ")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
COMMAND = re.compile(r"jobs/(\w+)\.py|(?<=`)rayreel ([a-z-]+)|^\$ rayreel ([a-z-]+)|python -m rayreel ([a-z-]+)")
SETTING = re.compile(r"--set '?\"?([a-z_]+(?:\.[a-z_]+)?)=")


def sentences(path: Path) -> Iterator[str]:
    """Every text of a module that has words in it, `…` for what is filled in."""
    tree = ast.parse(path.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


TEXTS = [(path.relative_to(ROOT), text) for path in SOURCES for text in sentences(path) if " " in text]


def named(text: str) -> list[str]:
    """Return the commands in a text; `jobs/train_action.py` is train-action."""
    return ["".join(found).replace("_", "-") for found in COMMAND.findall(text)]


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each command; those of a group are the options of all its commands."""
    program = typer.main.get_group(main.app)
    found = {
        name: options_of(*getattr(command, "commands", {name: command}).values())
        for name, command in program.commands.items()
    }
    return found | {"benchmarks": options_of(typer.main.get_command(benchmarks))}


def help_texts(command: Any) -> Iterator[str]:  # noqa: ANN401 - a command or a group of them, of typer's own click
    """Yield the help of a command, its epilog and the help of its options, and those of the commands in a group."""
    yield from filter(None, [command.help, command.epilog, *(getattr(one, "help", None) for one in command.params)])
    for part in getattr(command, "commands", {}).values():
        yield from help_texts(part)


@pytest.mark.parametrize("app", [main.app, benchmarks, submit.app])
def test_brackets_in_help_are_shown(app: typer.Typer) -> None:
    """Rich takes other words in brackets for styles, and shows neither them nor the brackets."""
    texts = list(help_texts(typer.main.get_command(app)))
    styles = {(str(span.style), text) for text in texts for span in Text.from_markup(text).spans}
    assert len(texts) > 5 and not {found for found in styles if found[0] != "bold"}


def test_options_in_messages_exist(options: dict[str, set[str]]) -> None:
    unknown = []
    for path, text in TEXTS:
        commands = [command for command in named(text) if command in options]
        known = set().union(*(options[command] for command in commands or options))
        strange = set(OPTION.findall(text)) - known
        if strange and not OTHERS.search(text):
            unknown.append((str(path), strange, text[:100]))
    assert not unknown


def test_settings_in_messages_exist() -> None:
    wrong = [(str(path), name) for path, text in TEXTS for name in SETTING.findall(text) if not _is_setting(name)]
    assert not wrong


def test_commands_in_messages_exist(options: dict[str, set[str]]) -> None:
    missing = [(str(path), command) for path, text in TEXTS for command in named(text) if command not in options]
    assert not missing


def test_messages_name_commands_and_not_scripts() -> None:
    """The Python API shows messages unchanged; commands replace the names (`cli.output.in_form_used`)."""
    scripts = [(str(path), text) for path, text in TEXTS if path.parts[0] in {"platform", "serve_apps"}]
    assert not [found for found in scripts if re.search(r"jobs/\w+\.py", found[1]) and "Ray job" not in found[1]]


@pytest.mark.parametrize("document", ["README.md", "k8s/README.md", "ray_cluster.yaml"])
def test_options_and_settings_in_documents_exist(document: str, options: dict[str, set[str]]) -> None:
    wrong = []
    for line in (ROOT / document).read_text().splitlines():
        for found in COMMAND.finditer(line):
            (command,) = named(found[0]) or [next(filter(None, found.groups()))]
            words = re.split(r"[`#|;]", line[found.end() :])[0]
            wrong += [(line, word) for word in OPTION.findall(words) if word not in options[command]]
        wrong += [(line, name) for name in SETTING.findall(line) if not _is_setting(name)]
    assert not wrong


def _is_setting(name: str) -> bool:
    return name == "part.key" or any(f"{line.name}.".startswith(f"{name}.") for line in setting_lines())
