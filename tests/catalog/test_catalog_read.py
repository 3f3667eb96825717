from pathlib import Path

import pytest

from rayreel.catalog.problem import CatalogError
from rayreel.catalog.read import read_catalog
from rayreel.catalog.video import CatalogVideo
from rayreel.failures import Reason
from rayreel.remote.config import ReadLimits


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(b"video")
    return folder


def manifest(clips: Path, *rows: str) -> Path:
    path = clips.parent / "catalog.csv"
    path.write_text("\n".join(["video_id,uri", *rows]))
    return path


def test_every_row_is_a_video_or_a_problem(clips: Path) -> None:
    rows = ["a,clips/a.mp4", "c,clips/c.mp4", ",x", "a,clips/b.mp4", "r,s3://bucket/r.mp4", "d,clips"]
    catalog = read_catalog(manifest(clips, *rows))
    assert len(catalog) == len(rows)
    assert [video.video_id for video in catalog.videos] == ["a", "r"]
    assert [(problem.row, problem.reason) for problem in catalog.problems] == [
        (2, Reason.MISSING_FILE),
        (3, Reason.INVALID_ROW),
        (4, Reason.DUPLICATE_ID),
        (6, Reason.MISSING_FILE),
    ]


def test_a_duplicate_id_is_reported_with_the_first_row_that_has_it(clips: Path) -> None:
    path = manifest(clips, ",broken", "a,clips/a.mp4", "b,clips/b.mp4", "a,clips/b.mp4", "a,clips/b.mp4")
    problems = read_catalog(path).problems[1:]
    assert [problem.row for problem in problems] == [4, 5]
    assert all("already used by row 2" in problem.detail for problem in problems)
    assert problems[0].detail.startswith(f"{path} row 4:")


def test_a_missing_file_is_reported_with_its_absolute_path(clips: Path) -> None:
    (problem,) = read_catalog(manifest(clips, "c,clips/c.mp4")).problems
    assert str(clips / "c.mp4") in problem.detail and problem.detail.startswith(f"{clips.parent / 'catalog.csv'} row 1")


@pytest.mark.parametrize("uri", ["x" * 5000, "nul\0.mp4", "clips/a.mp4/below"])
def test_a_path_that_no_file_system_accepts_is_a_missing_file(clips: Path, uri: str) -> None:
    assert [problem.reason for problem in read_catalog(manifest(clips, f"x,{uri}")).problems] == [Reason.MISSING_FILE]


def test_two_files_with_the_same_stem_in_a_folder_are_a_duplicate(clips: Path) -> None:
    (clips / "a.webm").write_bytes(b"video")
    catalog = read_catalog(clips)
    (problem,) = catalog.problems
    assert (problem.row, problem.reason, problem.uri) == (None, Reason.DUPLICATE_ID, str(clips / "a.webm"))
    assert str(clips / "a.mp4") in problem.detail
    assert len(catalog) == 3


def test_a_broken_link_is_a_missing_file(clips: Path) -> None:
    (clips / "gone.mp4").symlink_to(clips / "nothing.mp4")
    assert [problem.reason for problem in read_catalog(clips).problems] == [Reason.MISSING_FILE]


def test_file_uris_and_paths_are_equivalent(clips: Path) -> None:
    path = manifest(clips, f"a,{(clips / 'a.mp4').as_uri()}")
    catalog = read_catalog(path.as_uri())
    assert catalog == read_catalog(str(path))
    assert [video.uri for video in catalog.videos] == [str(clips / "a.mp4")]


def test_the_fingerprint_depends_on_values_but_not_on_the_order_of_columns(clips: Path) -> None:
    one, two, other = (
        CatalogVideo(video_id="a", uri="/a.mp4", extra=extra).fingerprint()
        for extra in ({"x": 1, "y": 2}, {"y": 2, "x": 1}, {"x": 1, "y": 3})
    )
    assert one == two != other


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "does not exist"),
        ("nowhere.csv", "does not exist"),
        ("empty", "has no videos"),
        ("empty.csv", "has no videos"),
        ("notes.md", "must end in .csv"),
    ],
)
def test_a_source_that_is_not_a_catalog_raises_an_error_with_a_remedy(
    tmp_path: Path, source: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").write_text("video_id,uri\n")
    (tmp_path / "notes.md").write_text("notes")
    with pytest.raises(CatalogError) as error:
        read_catalog(tmp_path / source)
    assert message in str(error.value) and str(tmp_path / source) in str(error.value)


@pytest.mark.parametrize(
    ("name", "written", "hint"),
    [
        ("a b.mp4", "clips/a%20b.mp4", "without % escapes"),
        ("c.mp4", "clips\\c.mp4", "write / instead of \\"),
        ("caf\u00e9.mp4", "clips/cafe\u0301.mp4", "has composed accents"),
        ("cafe\u0301.mp4", "clips/caf\u00e9.mp4", "has decomposed accents"),
        ("d.mp4", "d.mp4", "relative paths are resolved from"),
    ],
)
def test_a_misspelled_path_is_a_missing_file_with_a_hint(clips: Path, name: str, written: str, hint: str) -> None:
    (clips / name).write_bytes(b"video")
    (problem,) = read_catalog(manifest(clips, f"x,{written}")).problems
    assert problem.reason is Reason.MISSING_FILE and hint in problem.detail


def test_skipped_files_are_counted(clips: Path) -> None:
    (clips / "film.rmvb").write_bytes(b"video")
    catalog = read_catalog(clips)
    assert (len(catalog), catalog.left_out.counts.total()) == (2, 1)
    (clips / "empty").mkdir()
    (clips / "empty" / "cover.jpg").write_bytes(b"picture")
    with pytest.raises(CatalogError, match=r"has no videos.*unsupported suffix \.jpg: 1 \(cover\.jpg\)"):
        read_catalog(clips / "empty")


def test_files_whose_names_differ_in_spaces_or_unicode_form_are_separate_videos(clips: Path) -> None:
    for name in (" a", "a ", "caf\u00e9", "cafe\u0301"):
        (clips / f"{name}.mp4").write_bytes(b"video")
    catalog = read_catalog(clips)
    assert (len(catalog.videos), catalog.problems) == (6, [])


def test_a_hint_does_not_look_for_forbidden_files(tmp_path: Path) -> None:
    for name in ("open/in.mp4", "forbidden/out.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    rows = ("a,open/%69n.mp4", "b,open/%2e%2e/forbidden/out.mp4", "c,open/%2e%2e/forbidden/none.mp4")
    (tmp_path / "open" / "catalog.csv").write_text(
        "\n".join(["video_id,uri", *(row.replace("open/", "") for row in rows)])
    )
    limits = ReadLimits(allowed_roots=(tmp_path / "open",))
    hinted, existing, missing = read_catalog(tmp_path / "open" / "catalog.csv", limits).problems
    assert "without % escapes" in hinted.detail
    assert existing.detail.replace("out.mp4", "none.mp4").replace("row 2", "row 3") == missing.detail
