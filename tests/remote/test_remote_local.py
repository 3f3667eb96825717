"""Files of this machine that callers name."""

import os
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


def test_files_below_a_root_are_allowed_and_no_others(folder: Path) -> None:
    for path in ("a.mp4", "absent.mp4", "sub/../a.mp4", "."):
        assert is_allowed(folder / path, [folder]), path
    for path in ("../secret", "../absent", "out", "nowhere", "../videos-too/a.mp4", "out/../../secret"):
        assert not is_allowed(folder / path, [folder]), path


def test_a_path_written_elsewhere_is_refused_without_a_look_at_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    for name in ("stat", "lstat", "readlink"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda path, *a, real=real, **k: (looked.append(str(path)), real(path, *a, **k))[1]
        )
    for name in ("secret", "absent"):
        assert not may_read(str(folder.parent / name), ReadLimits(allowed_roots=(folder,)))
    assert not [path for path in looked if "secret" in path or "absent" in path]


@pytest.mark.parametrize("path", ["/etc/passwd", "/absent", "relative", "/\0", "/" + "x" * 5000])
def test_without_folders_no_file_of_this_machine_may_be_read(path: str) -> None:
    assert not may_read(path, ReadLimits(from_outside=True))


def test_the_state_is_closed_to_callers_but_for_folders_of_it_that_are_named(folder: Path) -> None:
    state = str(folder.parent)
    wide = ReadLimits(allowed_roots=(folder.parent.parent,), state=state, from_outside=True)
    assert not may_read(str(folder / "a.mp4"), wide)
    narrow = wide.model_copy(update={"allowed_roots": (folder.parent.parent, folder)})
    assert may_read(str(folder / "a.mp4"), narrow)
    assert not may_read(str(folder.parent / "secret"), narrow)
    assert may_read(str(folder / "a.mp4"), wide.model_copy(update={"from_outside": False}))
