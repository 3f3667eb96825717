import pytest
from pydantic import ValidationError

from rayreel.training.pairs.config import PairsConfig


def test_a_mixture_needs_a_source() -> None:
    with pytest.raises(ValidationError, match=r"pairs\.views=1"):
        PairsConfig(views=0)
    assert PairsConfig(views=0, label=0.5).label == 0.5


def test_the_mined_ranks_must_not_be_empty() -> None:
    with pytest.raises(ValidationError, match="mined_to_rank"):
        PairsConfig(mined_from_rank=10, mined_to_rank=10)


def test_overlaps_of_positives_and_negatives_must_not_intersect() -> None:
    with pytest.raises(ValidationError, match="max_jaccard_negative"):
        PairsConfig(min_jaccard=0.25, max_jaccard_negative=0.25)
