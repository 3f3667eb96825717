from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def weights_cache() -> Path:
    """Downloaded once, kept between runs."""
    return Path(__file__).parents[2] / ".rayreel-test" / "weights"


@pytest.fixture(scope="session")
def cpu() -> torch.device:
    return torch.device("cpu")
