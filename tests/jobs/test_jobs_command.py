"""Which Ray a job joins, what its own is like, and which command it names next."""

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

import command
from chain import ROOT
from ports import free_port
from ray_here import short_folder
from rayreel import ray_access
from rayreel.settings import load_settings


@pytest.fixture(autouse=True)
def nothing_joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ray.shutdown()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray_access, "_PATIENCE_S", 1)


def leave_word_of(address: str, folder: Path) -> None:
    (folder / "ray").mkdir(exist_ok=True)
    (folder / "ray" / "ray_current_cluster").write_text(address)


def test_without_a_cluster_there_is_nothing_to_join() -> None:
    assert command.join_ray() is False


def test_a_cluster_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    port = free_port()
    leave_word_of(f"127.0.0.1:{port}", tmp_path)
    assert command.join_ray() is False


def test_what_ray_start_made_here_is_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[str] = []
    monkeypatch.setattr(ray, "init", lambda address, **_: joined.append(address))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        leave_word_of(address, tmp_path)
        assert command.join_ray() is True and joined == [address]
        monkeypatch.setenv("RAY_ADDRESS", "local")
        assert command.join_ray() is False
        monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
        assert command.join_ray() is True and joined == [address] * 2


def test_a_named_cluster_that_does_not_answer_is_an_error_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(**_: object) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ray, "init", absent)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:6379")
    with pytest.raises(command.NoCluster, match=r"10\.0\.0\.9:6379.*RAY_ADDRESS"):
        command.join_ray()


def test_names_with_brackets_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    command.step("Reading st[/]ore [v1]")
    command.finish("st[/]ore [v1]", "next --storage '[v1]'")
    assert capsys.readouterr().out == "▸ Reading st[/]ore [v1]\nWrote st[/]ore [v1]\nNext:  next --storage '[v1]'\n"


def test_what_a_job_says_keeps_no_secret_of_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    command.step("Extracting 3 rows of https://user:hunter2@host.example/c.csv?sig=hunter2 with preset laptop")
    said = capsys.readouterr().out
    assert "hunter2" not in said and "https://host.example/c.csv?… with preset laptop" in said


OWN = """
import json, sys
from dataclasses import asdict

import command
from listeners import listeners, with_children
from processes import marked

command.use_ray()
found = listeners(with_children(marked(sys.argv[1])))
print(json.dumps([asdict(listener) | {"loopback": listener.is_on_loopback} for listener in found]))
"""


def test_a_jobs_own_ray_listens_on_loopback_and_requires_a_token(ray_folder: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"RAY_TMPDIR": ray_folder, "RAY_AUTH_TOKEN_PATH": f"{ray_folder}/auth_token"}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "jobs"), str(ROOT / "tests"), environment.get("PYTHONPATH", "")]
    )
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


def test_the_next_command_has_the_storage_and_the_settings_of_this_one(tmp_path: Path) -> None:
    settings = load_settings(storage=f"{tmp_path}/two words")
    sets = ["encoders.preset=standard", "train.on={pool: gpu}"]
    line = command.following("train", settings, Path("my config.yaml"), sets, "--epochs", "2")
    assert shlex.split(line) == [
        *("python", "jobs/train.py", "--epochs", "2", "--config", "my config.yaml"),
        *("--set", sets[0], "--set", sets[1], "--storage", f"{tmp_path}/two words"),
    ]


def test_a_job_names_the_next_one_with_all_that_it_needs(tmp_path: Path) -> None:
    words = ["jobs/sample.py", "--storage", str(tmp_path), "--clips", "1", "--set", "sampling.mode=exact"]
    run = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    following = next(line for line in run.stdout.splitlines() if line.startswith("Next:"))
    for part in (
        "jobs/extract.py",
        f"--catalog {tmp_path}/sample/catalog.csv",
        "sampling.mode=exact",
        f"--storage {tmp_path}",
    ):
        assert part in following
