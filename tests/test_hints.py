"""Options, settings and jobs in error messages and documents exist."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from rayreel.settings import Settings

ROOT = Path(__file__).parents[1]
SOURCES = [path for folder in ("platform", "serve_apps", "jobs") for path in sorted((ROOT / folder).rglob("*.py"))]
JOBS = sorted(path.stem for path in (ROOT / "jobs").glob("*.py") if "__main__" in path.read_text())
# Texts that mention another program may use that program's options.
OTHERS = re.compile(r"bin/mlflow ")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
JOB = re.compile(r"jobs/(\w+)\.py")
SETTING = re.compile(r"--set '?\"?([a-z_]+(?:\.[a-z_]+)?)=")


def sentences(path: Path) -> Iterator[str]:
    """Yield all string literals of a module, with `…` in place of interpolated values."""
    tree = ast.parse(path.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


TEXTS = [(path.relative_to(ROOT), text) for path in SOURCES for text in sentences(path) if " " in text]


def commands_of(job: str) -> list[click.Command]:
    """Return the commands of a job."""
    module = importlib.import_module(job)
    if hasattr(module, "app"):
        return list(typer.main.get_group(module.app).commands.values())
    app = typer.Typer()
    app.command()(module.main)
    return [typer.main.get_command(app)]


def options_of(job: str) -> set[str]:
    return {word for command in commands_of(job) for option in command.params for word in option.opts} | {"--help"}


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    return {job: options_of(job) for job in JOBS}


def test_every_option_in_a_message_exists_in_the_jobs_it_names_or_in_any(options: dict[str, set[str]]) -> None:
    unknown = []
    for path, text in TEXTS:
        named = [job for job in JOB.findall(text) if job in options]
        known = set().union(*(options[job] for job in named or options))
        missing = set(OPTION.findall(text)) - known
        if missing and not OTHERS.search(text):
            unknown.append((str(path), missing, text[:100]))
    assert not unknown


def test_every_setting_in_a_message_exists() -> None:
    known = set(Settings.model_fields)
    known |= {
        f"{part}.{key}" for part in known for key in getattr(Settings.model_fields[part].annotation, "model_fields", {})
    }
    wrong = [
        (str(path), name) for path, text in TEXTS for name in SETTING.findall(text) if name not in known | {"part.key"}
    ]
    assert not wrong


def test_every_job_in_a_message_exists() -> None:
    missing = [
        (str(path), job)
        for path, text in TEXTS
        for job in JOB.findall(text)
        if not (ROOT / "jobs" / f"{job}.py").exists()
    ]
    assert not missing


@pytest.mark.parametrize("document", ["README.md", "k8s/README.md", "ray_cluster.yaml"])
def test_every_command_in_a_document_has_valid_options_and_settings(
    document: str, options: dict[str, set[str]]
) -> None:
    wrong = []
    for line in (ROOT / document).read_text().splitlines():
        for job, words in re.findall(r"jobs/(\w+)\.py([^`#|;]*)", line):
            wrong += [(line, word) for word in OPTION.findall(words) if word not in options[job]]
        wrong += [(line, name) for name in SETTING.findall(line) if not _is_setting(name)]
    assert not wrong


def _is_setting(name: str) -> bool:
    part, _, key = name.partition(".")
    field = Settings.model_fields.get(part)
    return name == "part.key" or (
        field is not None and (not key or key in getattr(field.annotation, "model_fields", {}))
    )
