"""Access to local files by API clients and remote catalogs."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rayreel.remote.config import ReadLimits
from rayreel.remote.local import is_allowed, may_read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "videos" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "videos" / "nowhere").symlink_to(tmp_path / "absent")
    return tmp_path / "videos"


def test_only_files_inside_a_root_are_allowed(folder: Path) -> None:
    for path in ("a.mp4", "absent.mp4", "sub/../a.mp4", "."):
        assert is_allowed(folder / path, [folder]), path
    for path in ("../secret", "../absent", "out", "nowhere", "../videos-too/a.mp4", "out/../../secret"):
        assert not is_allowed(folder / path, [folder]), path


def test_a_path_outside_is_rejected_without_accessing_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accessed: list[str] = []

    def recorded(real: Callable[..., object]) -> Callable[..., object]:
        def call(path: object, *arguments: object, **options: object) -> object:
            accessed.append(str(path))
            return real(path, *arguments, **options)

        return call

    for name in ("stat", "lstat", "readlink"):
        monkeypatch.setattr(os, name, recorded(getattr(os, name)))
    for name in ("secret", "absent"):
        assert not may_read(str(folder.parent / name), ReadLimits(allowed_roots=(folder,)))
    assert not [path for path in accessed if "secret" in path or "absent" in path]


@pytest.mark.parametrize("path", ["/etc/passwd", "/absent", "relative", "/\0", "/" + "x" * 5000])
def test_without_allowed_folders_api_clients_cannot_read_local_files(path: str) -> None:
    assert not may_read(path, ReadLimits(from_outside=True))


def test_api_clients_cannot_read_the_state_except_for_folders_listed_explicitly(folder: Path) -> None:
    state = str(folder.parent)
    wide = ReadLimits(allowed_roots=(folder.parent.parent,), state=state, from_outside=True)
    assert not may_read(str(folder / "a.mp4"), wide)
    narrow = wide.model_copy(update={"allowed_roots": (folder.parent.parent, folder)})
    assert may_read(str(folder / "a.mp4"), narrow)
    assert not may_read(str(folder.parent / "secret"), narrow)
    assert may_read(str(folder / "a.mp4"), wide.model_copy(update={"from_outside": False}))
