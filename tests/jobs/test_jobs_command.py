"""Which Ray a job joins."""

import socket
from pathlib import Path

import pytest
import ray

import command
from ports import free_port


@pytest.fixture(autouse=True)
def nothing_joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ray.shutdown()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


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
