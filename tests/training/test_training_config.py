import pytest
from pydantic import ValidationError

from rayreel.training.config import TrainConfig


@pytest.mark.parametrize(("given", "fewest", "most"), [(3, 3, 3), ("3", 3, 3), ("1:4", 1, 4), ("2:2", 2, 2)])
def test_workers_are_a_number_or_a_range(given: int | str, fewest: int, most: int) -> None:
    config = TrainConfig(workers=given)
    assert (config.fewest_workers, config.most_workers) == (fewest, most)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("given", [0, "0:2", "4:1", "many", "1:", ":3", "-1", "1:2:3"])
def test_invalid_worker_counts_are_rejected(given: int | str) -> None:
    with pytest.raises(ValidationError, match="workers"):
        TrainConfig(workers=given)
