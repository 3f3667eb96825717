import pytest

from rayreel.index.collection import NotARelease, collection_name, cut, version_of


def test_a_collection_name_gives_its_version_back() -> None:
    assert version_of(collection_name(12)) == 12


@pytest.mark.parametrize("name", ["videos", "videos_v", "videos_v1x", "other_v1"])
def test_a_foreign_collection_has_no_version(name: str) -> None:
    with pytest.raises(NotARelease, match="alias"):
        version_of(name)


@pytest.mark.parametrize("limit", range(13))
def test_a_text_is_cut_between_characters_and_fits_in_bytes(limit: int) -> None:
    text = "aé€😀z"
    shortened = cut(text, limit)
    assert len(shortened.encode()) <= limit
    assert text.startswith(shortened)


def test_a_text_that_fits_is_left_alone() -> None:
    assert cut("aé€😀z", 11) == "aé€😀z"


def test_a_text_that_is_no_unicode_is_cut_rather_than_refused() -> None:
    assert cut("file\udcff.mp4", 100) == "file?.mp4"
