import pytest

from rayreel.index.collection import NotARelease, collection_name, cut, version_of


def test_a_collection_name_round_trips_to_its_version() -> None:
    assert version_of(collection_name(12)) == 12


@pytest.mark.parametrize("name", ["videos", "videos_v", "videos_v1x", "other_v1"])
def test_a_collection_that_is_not_a_release_has_no_version(name: str) -> None:
    with pytest.raises(NotARelease, match="alias"):
        version_of(name)


@pytest.mark.parametrize("limit", range(13))
def test_a_text_is_cut_at_a_character_boundary_within_the_limit_of_bytes(limit: int) -> None:
    text = "aé€😀z"
    shortened = cut(text, limit)
    assert len(shortened.encode()) <= limit
    assert text.startswith(shortened)


def test_a_text_within_the_limit_is_unchanged() -> None:
    assert cut("aé€😀z", 11) == "aé€😀z"


def test_invalid_unicode_is_replaced_rather_than_rejected() -> None:
    assert cut("file\udcff.mp4", 100) == "file?.mp4"
