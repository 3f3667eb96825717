"""Which Ray a command joins, what its own Ray is like, and what commands print."""

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from chain import ROOT
from ports import free_port
from ray_here import short_folder
from rayreel.cli import output
from rayreel.cli.steps import ray_session
from rayreel.compat import ray_auth
from rayreel.settings import load_settings
from scripts import run_script


@pytest.fixture(autouse=True)
def nothing_joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # whatever an earlier test has joined
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray_auth, "ANSWER_S", 1)


def record_address(address: str, folder: Path) -> None:
    (folder / "ray").mkdir(exist_ok=True)
    (folder / "ray" / "ray_current_cluster").write_text(address)


def test_join_ray_is_false_without_a_cluster() -> None:
    assert ray_session.join_ray() is False


def test_join_ray_does_not_wait_for_a_cluster_that_is_gone(tmp_path: Path) -> None:
    port = free_port()
    record_address(f"127.0.0.1:{port}", tmp_path)
    assert ray_session.join_ray() is False


def test_join_ray_joins_the_cluster_that_ray_start_started_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[str] = []
    monkeypatch.setattr(ray, "init", lambda address, **_: joined.append(address))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        record_address(address, tmp_path)
        assert ray_session.join_ray() is True and joined == [address]
        monkeypatch.setenv("RAY_ADDRESS", "local")
        assert ray_session.join_ray() is False
        monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
        assert ray_session.join_ray() is True and joined == [address] * 2


def test_an_unreachable_ray_address_is_reported_with_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:6379")
    with pytest.raises(ray_session.NoCluster, match=r"10\.0\.0\.9:6379.*RAY_ADDRESS"):
        ray_session.join_ray()


def test_brackets_in_names_are_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.step("Reading st[/]ore [v1]")
    output.finish({}, "st[/]ore [v1]", "next --storage '[v1]'")
    assert capsys.readouterr().out == "▸ Reading st[/]ore [v1]\nWrote st[/]ore [v1]\nNext:  next --storage '[v1]'\n"


def test_steps_hide_the_secrets_of_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    output.step("Extracting 3 rows of https://user:hunter2@host.example/c.csv?sig=hunter2 with preset laptop")
    printed = capsys.readouterr().out
    assert "hunter2" not in printed and "https://host.example/c.csv?… with preset laptop" in printed


OWN = """
import json, sys
from dataclasses import asdict

from rayreel.cli.steps import ray_session
from rayreel.compat import ray_auth
from listeners import listeners, with_children
from processes import marked

ray_session.use_ray()
found = listeners(with_children(marked(sys.argv[1])))
print(json.dumps([asdict(listener) | {"loopback": listener.is_on_loopback} for listener in found]))
"""


@pytest.mark.slow
def test_the_ray_of_a_command_listens_on_loopback_and_requires_a_token(ray_folder: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"RAY_TMPDIR": ray_folder, "RAY_AUTH_TOKEN_PATH": f"{ray_folder}/auth_token"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), environment.get("PYTHONPATH", "")])
    words = [sys.executable, "-c", OWN, ray_folder]
    run = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert any("gcs_server" in listener["title"] for listener in found)
    assert all(listener["loopback"] for listener in found), found
    assert {listener["auth_mode"] for listener in found} == {"token"}


@pytest.fixture
def ray_folder() -> Iterator[str]:
    with short_folder() as folder:
        yield folder


def test_the_next_command_has_the_storage_root_and_settings_of_this_one(tmp_path: Path) -> None:
    settings = load_settings(storage=f"{tmp_path}/two words")
    sets = ["encoders.preset=standard", "train.on={pool: gpu}"]
    line = output.next_command("train", settings, Path("my config.yaml"), sets, "--epochs", "2")
    assert shlex.split(line) == [
        *("rayreel", "train", "--epochs", "2", "--config", "my config.yaml"),
        *("--set", sets[0], "--set", sets[1], "--storage", f"{tmp_path}/two words"),
    ]


def test_a_script_names_the_next_script_with_all_that_it_needs(tmp_path: Path) -> None:
    run = run_script("jobs/sample.py", "--storage", str(tmp_path), "--clips", "1", "--set", "sampling.mode=exact")
    following = next(line for line in run.stdout.splitlines() if line.startswith("Next:"))
    for part in (
        "jobs/extract.py",
        f"--catalog {tmp_path}/sample/catalog.csv",
        "sampling.mode=exact",
        f"--storage {tmp_path}",
    ):
        assert part in following
