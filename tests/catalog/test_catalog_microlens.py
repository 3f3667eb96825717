"""A small MicroLens set: items with and without files, titles and interactions."""

from pathlib import Path

import pytest

from rayreel.catalog.interactions import SCHEMA
from rayreel.catalog.microlens import (
    MicroLensFiles,
    find_microlens,
    most_watched,
    read_microlens,
    read_pairs,
    read_texts,
    remote_tables,
    remote_videos,
)
from rayreel.catalog.problem import CatalogError

# By views: item 10, then 2 and 3, then 1. Item 4 has no file, 5 no title and 6 no interaction.
PAIRS = """user,item,timestamp
1,10,1583378629552
1,2,1583378629553
2,10,1583378629551
2,3,1583378629550
3,10,1583378629549
3,4,1583378629548
4,4,1583378629547
4,3,1583378629546
4,2,1583378629545
5,5,1583378629544
5,1,1583378629543
"""
TITLES = """item,title
1,"Duck, fried # food"
2,Sudden reversal
3,Pumpkin armor
4,No file
6,Never watched
10,Most watched
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "MicroLens-50k_pairs.csv").write_text(PAIRS)
    (tmp_path / "MicroLens-50k_pairs.tsv").write_text("1\t10 2\n")
    (tmp_path / "MicroLens-50k_titles.csv").write_text(TITLES)
    (videos := tmp_path / "MicroLens-50k_videos").mkdir()
    for item in (1, 2, 3, 5, 6, 10):
        (videos / f"{item}.mp4").touch()
    (videos / "4.jpg").touch()
    (tmp_path / "MicroLens-50k_covers").mkdir()
    return tmp_path


def test_videos_are_sorted_by_views_and_have_their_titles(folder: Path) -> None:
    read = read_microlens(find_microlens(folder))
    assert [(video.video_id, video.title) for video in read.videos] == [
        ("10", "Most watched"),
        ("2", "Sudden reversal"),
        ("3", "Pumpkin armor"),
        ("1", "Duck, fried # food"),
        ("5", ""),
        ("6", "Never watched"),
    ]
    assert read.videos[0].uri == str(folder / "MicroLens-50k_videos" / "10.mp4")


def test_items_without_a_file_are_left_out_with_their_interactions_and_counted(folder: Path) -> None:
    read = read_microlens(find_microlens(folder))
    assert (read.without_file, read.beyond_limit) == (1, 0)
    assert "4" not in read.interactions["video_id"].to_pylist()
    assert read.interactions.num_rows == 9


def test_a_limit_keeps_the_most_watched_and_only_their_interactions(folder: Path) -> None:
    read = read_microlens(find_microlens(folder), max_videos=2)
    assert [video.video_id for video in read.videos] == ["10", "2"]
    assert set(read.interactions["video_id"].to_pylist()) == {"10", "2"}
    assert (read.without_file, read.beyond_limit) == (1, 4)


def test_interactions_have_the_schema_and_are_sorted_by_time(folder: Path) -> None:
    pairs = read_pairs(folder / "MicroLens-50k_pairs.csv")
    assert pairs.schema == SCHEMA
    moments = pairs["timestamp"].to_pylist()
    assert moments == sorted(moments)
    assert moments[-1].isoformat() == "2020-03-05T03:23:49.553000+00:00"


def test_pairs_without_timestamps_are_rejected(folder: Path) -> None:
    with pytest.raises(CatalogError, match=r"has no timestamps\. Use _pairs\.csv"):
        read_pairs(folder / "MicroLens-50k_pairs.tsv")
    (folder / "p.csv").write_text("user_id,item,timestamp\n1,2,3\n")
    with pytest.raises(CatalogError, match=r"lacks the column\(s\) user; it has 'user_id', 'item'"):
        read_pairs(folder / "p.csv")


def test_titles_are_read_with_and_without_a_header_and_with_unquoted_commas(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('7,"one, ""two"""\n8,one, two\n\n9,\n')
    assert read_texts(tmp_path / "t.csv") == {"7": 'one, "two"', "8": "one, two", "9": ""}
    (tmp_path / "t.csv").write_text("\ufeffitem,title\n7,one\n")
    assert read_texts(tmp_path / "t.csv") == {"7": "one"}


def test_an_invalid_title_row_raises_an_error_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("1,good\nalone\n")
    with pytest.raises(CatalogError, match=r"line 2: .*found 'alone'"):
        read_texts(tmp_path / "t.csv")


def test_the_categories_of_the_larger_set_are_read(folder: Path) -> None:
    (folder / "tags_to_summary.csv").write_text("10,food\n2,comedy\n")
    read = read_microlens(find_microlens(folder))
    assert [video.category for video in read.videos[:3]] == ["food", "comedy", ""]


def test_parts_are_found_by_name_unless_passed_as_arguments(folder: Path, tmp_path: Path) -> None:
    (own := tmp_path / "mine").mkdir()
    found = find_microlens(folder, videos=own)
    assert found == MicroLensFiles(folder / "MicroLens-50k_pairs.csv", folder / "MicroLens-50k_titles.csv", own)


def test_a_missing_or_ambiguous_part_raises_an_error(folder: Path) -> None:
    (folder / "MicroLens-100k_title_en.csv").write_text(TITLES)
    with pytest.raises(CatalogError, match="more than one"):
        find_microlens(folder)
    for path in folder.glob("*.csv"):
        path.unlink()
    with pytest.raises(CatalogError, match=r"must contain one MicroLens-\*_pairs\.csv, but has none"):
        find_microlens(folder)


def test_a_folder_without_any_of_the_videos_raises_an_error(folder: Path, tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(CatalogError, match=r"expected names such as 10\.mp4"):
        read_microlens(find_microlens(folder, videos=empty))
    with pytest.raises(CatalogError, match="does not exist"):
        read_microlens(find_microlens(folder, videos=tmp_path / "nowhere"))


def test_items_with_equal_views_are_sorted_by_number(folder: Path) -> None:
    pairs = read_pairs(folder / "MicroLens-50k_pairs.csv")
    assert most_watched(["12", "1", "9", "2"], pairs) == ["2", "1", "9", "12"]


def test_urls_are_those_of_the_authors() -> None:
    tables = [file.url for file in remote_tables("50k")]
    root = "https://recsys.westlake.edu.cn/MicroLens-50k-Dataset"
    assert tables == [f"{root}/MicroLens-50k_pairs.csv", f"{root}/MicroLens-50k_titles.csv"]
    assert remote_videos("50k", ["17"])[0].url == f"{root}/MicroLens-50k_videos/17.mp4"
    with pytest.raises(CatalogError, match="Choose one of 50k, 100k"):
        remote_tables("1m")
