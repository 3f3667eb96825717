import pytest
from pydantic import ValidationError

from rayreel.training.pairs.config import PairsConfig


def test_a_mixture_needs_a_source() -> None:
    with pytest.raises(ValidationError, match=r"pairs\.views=1"):
        PairsConfig(views=0)
    assert PairsConfig(views=0, label=0.5).label == 0.5


def test_mined_ranks_must_hold_a_rank() -> None:
    with pytest.raises(ValidationError, match="mined_to_rank"):
        PairsConfig(mined_from_rank=10, mined_to_rank=10)


def test_no_overlap_is_both_a_positives_and_a_negatives() -> None:
    with pytest.raises(ValidationError, match="max_jaccard_negative"):
        PairsConfig(min_jaccard=0.25, max_jaccard_negative=0.25)
