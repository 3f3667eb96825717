import pytest

from rayreel.catalog.naming import names, title_of_file


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("chess_001", "chess"),
        ("CHESS", "Chess"),
        ("chess001", "chess"),
        ("my-dog-2", "dogs"),
        ("dogs in snow", "dog"),
        ("city_tour", "cities"),
        ("two foxes", "fox"),
        ("a head turns", "talking_head"),
        ("talkinghead7", "talking-head"),
        ("v_ApplyEyeMakeup_g01_c01", "ApplyEyeMakeup"),
        ("blitzchessgame", "chess"),
        ("Straßenfest", "straße"),
        ("国际象棋001", "国际象棋"),
        ("象棋比赛", "象棋"),
    ],
)
def test_a_name_that_says_the_category_is_no_title(name: str, category: str) -> None:
    assert names(name, category)
    assert title_of_file(name, category) == ""


@pytest.mark.parametrize(
    ("name", "category"),
    [("start", "art"), ("salt and pepper", "arts_and_crafts"), ("IMG_2001", "2001"), ("fox", ""), ("glas", "glass")],
)
def test_a_name_that_only_resembles_the_category_is_a_title(name: str, category: str) -> None:
    assert not names(name, category)
    assert title_of_file(name, category) != ""
