"""The program `rayreel`: help, start-up time, settings, JSON, and the form of the commands it names."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner, Result

from chain import ROOT
from rayreel.cli import main, options, output
from rayreel.settings import Settings
from scripts import run_script

HEAVY = {"av", "httpx", "mlflow", "numpy", "pandas", "pyarrow", "pymilvus", "ray", "torch", "transformers"}
REPORT = "; import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
RUN = """
import sys

sys.argv = ["rayreel", *{words}]
try:
    from rayreel.cli.main import main

    main()
except SystemExit:
    pass
"""
PATHS = [(), *((name,) for name in (*main.COMMANDS, *main.GROUPS)), ("keys", "create"), ("dataset", "microlens")]


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAYREEL_")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run


def invoke(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(main.app, list(words))


@pytest.mark.parametrize("words", [(), ("train",), ("keys", "list")], ids=" ".join)
def test_help_imports_no_heavy_library(words: tuple[str, ...]) -> None:
    loaded = set(python(RUN.format(words=[*words, "--help"]) + REPORT[2:]).stderr.split())
    assert "rayreel" in loaded and not loaded & HEAVY


@pytest.mark.parametrize("preset", ["laptop", "modern"])
def test_loading_settings_imports_no_heavy_library(preset: str) -> None:
    load = f"from rayreel.settings import load_settings; load_settings(sets=['encoders.preset={preset}'])"
    loaded = set(python(f"{load}{REPORT}").stderr.split())
    assert "rayreel" in loaded and not loaded & HEAVY


def cpu_s(code: str) -> float:
    """Return the CPU time in s of a new Python that runs the code: the least of three runs."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(3))


def test_help_takes_little_longer_than_importing_what_prints_it() -> None:
    assert cpu_s(RUN.format(words=["--help"])) < 3 * cpu_s("import pydantic_settings, rich.console, typer")


@pytest.mark.parametrize("words", PATHS, ids=" ".join)
def test_every_command_has_help_and_json(words: tuple[str, ...]) -> None:
    shown = invoke(*words, "--help")
    assert shown.exit_code == 0
    group = not words or (len(words) == 1 and words[0] in main.GROUPS)
    assert group or "--json" in shown.output


def test_help_lists_the_settings_of_the_command_with_nested_ones() -> None:
    shown = " ".join(invoke("promote", "--help").output.split())
    assert "release.gates.min_recall = 0.98: recall@10" in shown and "rayreel settings" in shown
    assert "train.batch_size" not in shown


def test_settings_lists_every_setting_with_default_and_description() -> None:
    listed = json.loads(invoke("settings", "--json").stdout)
    assert listed["release.gates.min_recall"]["default"] == 0.98
    assert {name.partition(".")[0] for name in listed} == set(Settings.model_fields)
    missing = [name for name, found in listed.items() if not found["about"]]
    assert not missing


def test_settings_shows_changed_values_beside_their_defaults() -> None:
    shown = invoke("settings", "train.epochs", "--set", "train.epochs=3").output
    assert "3 (default 20)" in shown and "batch_size" not in shown


def test_secrets_are_masked_in_the_list_of_settings() -> None:
    words = ("settings", "release.webhook_secret", "--set", "release.webhook_secret=hunter2hunter2hunter2hunter2")
    assert "hunter2" not in invoke(*words).output and "hunter2" not in invoke(*words, "--json").output


def test_secrets_of_addresses_are_left_out_of_the_list_of_settings() -> None:
    listed = invoke("settings", "storage", "--json", "--storage", "s3://key:hunter2@bucket/x?sig=hunter2").stdout
    assert "bucket" in listed and "hunter2" not in listed


def test_with_json_nothing_else_is_printed_on_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    def emit(result: Mapping[str, Any]) -> None:
        sys.stdout.write("from a library")
        output.emit(result)

    monkeypatch.setattr("rayreel.cli.settings.emit", emit)
    shown = invoke("settings", "train.epochs", "--json")
    assert json.loads(shown.stdout)["train.epochs"]["default"] == 20 and "from a library" in shown.stderr


def test_set_completes_the_names_of_settings() -> None:
    assert "train.epochs=" in get_args(options.Sets)[1].autocompletion("train.ep")


def test_with_json_an_error_is_one_object_on_stdout_and_text_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rayreel", "settings", "nothing", "--json"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    printed = capsys.readouterr()
    error = json.loads(printed.out)["error"]
    assert ended.value.code == 1 and error["type"] == "SettingsError" and "nothing" in error["message"]
    assert "SettingsError" in printed.err


@pytest.mark.parametrize(
    ("started", "line"),
    [
        ("/usr/bin/rayreel", "rayreel train-action"),
        ("/usr/lib/python3/ipykernel_launcher.py", "rayreel train-action"),
        ("/opt/rayreel/jobs/extract.py", "python jobs/train_action.py"),
        ("/x/platform/rayreel/__main__.py", "python -m rayreel train-action"),
    ],
)
def test_commands_are_named_in_the_form_that_was_used(started: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    assert " ".join(output.program("train-action")) == line
    assert output.in_form_used("Run `rayreel train-action --help` first.") == f"Run `{line} --help` first."
    assert output.in_form_used("no folder /x/rayreel train") == "no folder /x/rayreel train"


def test_every_command_has_a_script_in_jobs() -> None:
    scripts = {path.stem.replace("_", "-") for path in (ROOT / "jobs").glob("*.py")}
    assert scripts == {*main.COMMANDS, *main.GROUPS} - {"settings"}
    for name in scripts:
        assert f'run_script("{name}")' in (ROOT / "jobs" / f"{name.replace('-', '_')}.py").read_text()


def test_a_script_takes_the_options_of_its_command(tmp_path: Path) -> None:
    run = run_script("jobs/keys.py", "list", "--json", "--storage", str(tmp_path))
    assert json.loads(run.stdout) == {"keys": []}


def test_version_is_printed() -> None:
    assert re.fullmatch(r"rayreel \d+\.\d+\.\d+\n", invoke("--version").output)
