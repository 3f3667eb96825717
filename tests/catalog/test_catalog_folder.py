import inspect
import json
import os
import sys
from pathlib import Path

import pytest

from rayreel.catalog.folder import read_folder
from rayreel.catalog.left_out import LeftOut
from rayreel.catalog.problem import RowProblem
from rayreel.catalog.video import CatalogVideo
from rayreel.failures import Reason


def put(path: Path, content: str | bytes = b"video") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def only(folder: Path) -> CatalogVideo | RowProblem:
    (item,) = read_folder(folder)
    return item


def video_of(folder: Path) -> CatalogVideo:
    item = only(folder)
    assert isinstance(item, CatalogVideo)
    return item


def test_videos_are_sorted_and_have_id_category_and_absolute_path(tmp_path: Path) -> None:
    for name in ("zoo/b.MP4", "zoo/deep/a.webm", "art/c.3gp", "top.mov"):
        put(tmp_path / name)
    videos = list(read_folder(tmp_path))
    assert [(v.video_id, v.category) for v in videos if isinstance(v, CatalogVideo)] == [
        ("art/c", "art"),
        ("top", ""),
        ("zoo/b", "zoo"),
        ("zoo/deep/a", "zoo"),
    ]
    assert [Path(v.uri) for v in videos] == sorted(tmp_path.rglob("*.*"))


def test_hidden_and_other_files_are_skipped(tmp_path: Path) -> None:
    for name in (".a.mp4", ".cache/b.mp4", "notes.md", "cover.jpg", "kept.mp4"):
        put(tmp_path / name)
    assert only(tmp_path).video_id == "kept"


def test_the_default_title_is_the_file_name_with_spaces(tmp_path: Path) -> None:
    put(tmp_path / "red_fox-at_dawn.mp4")
    assert video_of(tmp_path).title == "red fox at dawn"


def test_a_file_name_that_names_the_category_is_no_title(tmp_path: Path) -> None:
    put(tmp_path / "chess/chess_001.mp4")
    put(tmp_path / "chess/queens gambit.mp4")
    titles = {video.video_id: video.title for video in read_folder(tmp_path) if isinstance(video, CatalogVideo)}
    assert titles == {"chess/chess_001": "", "chess/queens gambit": "queens gambit"}


def test_the_category_of_a_sidecar_decides_whether_the_file_name_is_a_title(tmp_path: Path) -> None:
    put(tmp_path / "zoo/fox_1.mp4")
    put(tmp_path / "zoo/fox_1.json", json.dumps({"category": "foxes"}))
    put(tmp_path / "zoo/zoo_2.mp4")
    put(tmp_path / "zoo/zoo_2.json", json.dumps({"category": "animals"}))
    assert [video.title for video in read_folder(tmp_path) if isinstance(video, CatalogVideo)] == ["", "zoo 2"]


def test_a_text_sidecar_contains_title_and_description(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4")
    put(tmp_path / "a.txt", b"\xef\xbb\xbfRed fox\r\nIn the snow.\nTwice.\n")
    video = video_of(tmp_path)
    assert (video.title, video.description) == ("Red fox", "In the snow.\nTwice.")


def test_a_json_sidecar_overrides_text_and_folder_and_keeps_other_keys(tmp_path: Path) -> None:
    put(tmp_path / "zoo/a.mp4")
    put(tmp_path / "zoo/a.txt", "From text\nA description.")
    sidecar = {"title": "From json", "description": None, "category": "foxes", "tags": ["red", "snow"]}
    other = {"created_at": "20240131", "views": 12, "parts": [1, 2], "video_id": "not this"}
    put(tmp_path / "zoo/a.json", json.dumps(sidecar | other))
    video = only(tmp_path)
    assert isinstance(video, CatalogVideo)
    assert (video.video_id, video.title, video.description) == ("zoo/a", "From json", "A description.")
    assert (video.category, video.tags) == ("foxes", ("red", "snow"))
    assert video.created_at is not None and video.created_at.isoformat() == "2024-01-31T00:00:00+00:00"
    assert video.extra == {"views": 12, "parts": "[1, 2]"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"title": ', "not valid JSON"),
        ("a.json", b'["a title"]', "expected a JSON object"),
        ("a.json", b'{"created_at": "soon"}', "created_at is 'soon', expected a date"),
        ("a.json", b'{"created_at": 2024}', "created_at is 2024, expected a date"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.txt", b"caf\xe9", "not UTF-8"),
    ],
)
def test_an_invalid_sidecar_is_a_problem_that_names_it_and_the_others_are_read(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    put(tmp_path / "a.mp4")
    put(tmp_path / "b.mp4")
    sidecar = put(tmp_path / name, content)
    problem, video = read_folder(tmp_path)
    assert isinstance(problem, RowProblem) and problem.reason is Reason.INVALID_ROW
    assert (problem.video_id, problem.row) == ("a", None)
    assert str(sidecar) in problem.detail and message in problem.detail
    assert video.video_id == "b"


def test_links_out_of_the_folder_are_problems_and_links_inside_are_videos(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    put(outside / "secret.mp4")
    put(outside / "secret.txt", "secret title")
    real = put(folder / "real.mp4")
    (folder / "inner.mp4").symlink_to(real)
    (folder / "outer.mp4").symlink_to(outside / "secret.mp4")
    (folder / "outer_folder").symlink_to(outside)
    put(folder / "linked.mp4")
    (folder / "linked.txt").symlink_to(outside / "secret.txt")
    items = list(read_folder(folder))
    assert [item.video_id for item in items if isinstance(item, CatalogVideo)] == ["inner", "real"]
    problems = [item for item in items if isinstance(item, RowProblem)]
    assert [problem.video_id for problem in problems] == ["linked", "outer", "outer_folder"]
    assert all("leads out" in problem.detail for problem in problems)


def test_link_cycles_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "sub/a.mp4")
    (tmp_path / "sub/again").symlink_to(tmp_path)
    (tmp_path / "self.mp4").symlink_to(tmp_path / "self.mp4")
    assert [item.video_id for item in read_folder(tmp_path)] == ["self", "sub/a"]


def test_a_file_name_that_is_not_utf8_is_a_problem_that_can_be_encoded(tmp_path: Path) -> None:
    put(Path(str(tmp_path) + "/caf\udce9.mp4"))
    problem = only(tmp_path)
    assert isinstance(problem, RowProblem) and problem.reason is Reason.INVALID_ROW
    assert f"{problem.video_id} {problem.uri} {problem.detail}".encode()


NAMES = ["with space", "100%", "a#b", "a?b=c", "a;b", "a\nb", "back\\slash", 'it\'s "it"', "-y", "é", "e\u0301"]
NAMES += [" lead", "lead", "trail ", "[/]", "\U0001f3ac", "長" * 80, "a.b", "%2E", "CON"]


def test_a_file_with_any_name_is_a_video_with_that_id(tmp_path: Path) -> None:
    for name in NAMES:
        put(tmp_path / f"{name}.mp4")
    videos = list(read_folder(tmp_path))
    assert {video.video_id for video in videos} == set(NAMES)
    assert all(isinstance(video, CatalogVideo) and Path(video.uri).is_file() for video in videos)


def test_suffixes_of_cameras_discs_and_recorders_are_accepted_in_any_case(tmp_path: Path) -> None:
    names = ["a.MTS", "b.m2ts", "c.vob", "d.3g2", "e.asf", "f.qt", "g.mpe", "h.M2T", "i.divx", "j.dvr-ms", "k.f4v"]
    for name in names:
        put(tmp_path / name)
    assert [Path(video.uri).name for video in read_folder(tmp_path)] == names


def test_skipped_files_are_counted_by_kind_with_their_names(tmp_path: Path) -> None:
    used = ("clip.mp4", "clip.txt", "clip.json", "sub/other.mkv")
    skipped = ("lone.txt", "cover.JPG", "sub/b.jpg", "film.rmvb", "README", ".DS_Store", "._clip.mp4", "Thumbs.db")
    for name in used + skipped:
        put(tmp_path / name, "{}" if name.endswith("json") else "text")
    (tmp_path / "again").symlink_to(tmp_path / "sub")
    left_out = LeftOut()
    assert [item.video_id for item in read_folder(tmp_path, left_out)] == ["clip", "sub/other"]
    assert left_out.counts.total() == len(skipped) + 1
    assert set(left_out.lines()) == {
        "unsupported suffix .jpg: 2 (cover.JPG, sub/b.jpg)",
        "hidden files or folders: 2 (.DS_Store, ._clip.mp4)",
        "unsupported suffix .txt: 1 (lone.txt)",
        "unsupported suffix .rmvb: 1 (film.rmvb)",
        "unsupported suffix .db: 1 (Thumbs.db)",
        "no suffix: 1 (README)",
        "links to folders already listed: 1 (again)",
    }


def test_folders_may_be_nested_deeper_than_the_recursion_limit(tmp_path: Path) -> None:
    put(tmp_path / "/".join("a" * 200) / "deep.mp4")
    limit, here = sys.getrecursionlimit(), len(inspect.stack(context=0))
    sys.setrecursionlimit(here + 120)
    try:
        items = list(read_folder(tmp_path))
    finally:
        sys.setrecursionlimit(limit)
    assert [item.video_id.removeprefix("a/" * 200) for item in items] == ["deep"]


def test_an_unreadable_folder_is_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    put(tmp_path / "kept.mp4")
    put(tmp_path / "locked/b.mp4")
    (tmp_path / "locked").chmod(0)
    try:
        if os.access(tmp_path / "locked", os.R_OK):
            pytest.skip("root reads every folder")
        problem = next(item for item in read_folder(tmp_path) if isinstance(item, RowProblem))
        assert (problem.video_id, problem.reason) == ("locked", Reason.UNREADABLE)
    finally:
        (tmp_path / "locked").chmod(0o700)
