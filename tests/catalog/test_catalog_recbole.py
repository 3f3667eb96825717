from datetime import UTC, datetime
from pathlib import Path

import pytest

from rayreel.catalog.interactions import SCHEMA, read_interactions
from rayreel.catalog.problem import CatalogError
from rayreel.catalog.recbole import ITEMS, items_table

INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\r\n"
    "196\t0242\t3\t881250949\r\n"
    "186\t302\t3.5\t891717742.5\r\n"
)
ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\r\n"
    "1\tToy Story\t1995\tAnimation Children's Comedy\r\n"
    '2\t"Great" Cats, The\t\t\r\n'
    "267\tunkonwn\tunkonwn\tunknown\r\n"
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_an_inter_file_gives_interactions_in_file_order(tmp_path: Path) -> None:
    table = read_interactions(write(tmp_path / "ml.inter", INTER))
    assert table.schema == SCHEMA
    assert table.select(["user_id", "video_id", "rating"]).to_pylist() == [
        {"user_id": "196", "video_id": "0242", "rating": 3.0},
        {"user_id": "186", "video_id": "302", "rating": 3.5},
    ]
    assert table["timestamp"].to_pylist()[0] == datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC)
    assert table["dwell_s"].null_count == 2


def test_an_inter_file_may_have_other_columns_in_any_order_and_no_rating(tmp_path: Path) -> None:
    text = 'timestamp:float\tquery:token_seq\titem_id:token\tuser_id:token\n0\ta "b\tx\t7\n'
    table = read_interactions(write(tmp_path / "s.inter", text))
    assert (table["user_id"].to_pylist(), table["video_id"].to_pylist()) == (["7"], ["x"])
    assert table["rating"].null_count == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id:token\titem_id:token\n1\t2\n", r"lacks the column\(s\) timestamp; it has 'user_id', 'item_id'"),
        ("user_id:token\tvideo:token\ttimestamp:float\n1\t2\t3\n", r"lacks the column\(s\) item_id"),
        ("user_id:token\titem_id:token\ttimestamp:float\n1\t2\tsoon\n", "row 1: timestamp is 'soon'"),
        ("user_id:token\titem_id:token\ttimestamp:float\n1\t2\n", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_an_invalid_inter_file_raises_an_error_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        read_interactions(write(tmp_path / "ml.inter", text))


def test_items_have_title_tags_category_and_release_year(tmp_path: Path) -> None:
    items = items_table(write(tmp_path / "ml.item", ITEM))
    assert items.schema == ITEMS
    assert items.to_pylist()[0] == {
        "video_id": "1",
        "title": "Toy Story",
        "tags": ["Animation", "Children's", "Comedy"],
        "category": "Animation",
        "created_at": datetime(1995, 1, 1, tzinfo=UTC),
    }


def test_items_may_lack_genre_and_year_and_quotes_are_kept(tmp_path: Path) -> None:
    cats, unknown = items_table(write(tmp_path / "ml.item", ITEM)).to_pylist()[1:]
    assert (cats["title"], cats["tags"], cats["category"], cats["created_at"]) == ('"Great" Cats, The', [], "", None)
    assert (unknown["tags"], unknown["category"], unknown["created_at"]) == ([], "", None)


def test_items_join_interactions_if_both_ids_were_converted_to_floats(tmp_path: Path) -> None:
    item = "item_id:token\ttitle:token_seq\tclass:token_seq\tyear:float\n101.0\ta\tx\t1995.0\n102.0\tb\ty\t\n"
    inter = "user_id:token\titem_id:token\ttimestamp:float\n7\t101.0\t1\n7\t102.0\t2\n"
    items = items_table(write(tmp_path / "a.item", item))
    views = read_interactions(write(tmp_path / "a.inter", inter))
    assert items["video_id"].to_pylist() == views["video_id"].to_pylist() == ["101", "102"]
    assert items["created_at"].to_pylist() == [datetime(1995, 1, 1, tzinfo=UTC), None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "item_id:token\tmovie_title:token_seq\tclass:token_seq\n1\ta\tb\n1\tc\td\n",
            "has the item '1' more than once",
        ),
        ("item_id:token\tmovie_title:token_seq\tclass:token_seq\n\ta\tb\n", "has an item without an id"),
        ("item_id:token\tclass:token_seq\n1\ta\n", "lacks one of the columns title, movie_title"),
        ("id:token\ttitle:token_seq\n1\ta\n", r"lacks the column\(s\) item_id"),
        ("item_id:token\ttitle:token_seq\n1\n", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_an_invalid_item_file_raises_an_error_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        items_table(write(tmp_path / "ml.item", text))


def test_a_header_that_is_not_text_raises_an_error(tmp_path: Path) -> None:
    for name, read in (("ml.inter", read_interactions), ("ml.item", items_table)):
        (tmp_path / name).write_bytes(b"\xff\xfeitem_id\tb\n1\t2\n")
        with pytest.raises(CatalogError, match="lacks"):
            read(tmp_path / name)


def test_a_file_with_another_suffix_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"ends in \.item"):
        items_table(write(tmp_path / "ml.csv", ITEM))
