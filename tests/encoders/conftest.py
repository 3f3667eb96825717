from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rayreel.encoders.compute import Compute


@pytest.fixture(scope="session")
def weights_cache() -> Path:
    """Weights are downloaded once and kept between runs."""
    return Path(__file__).parents[2] / ".rayreel-test" / "weights"


@pytest.fixture(scope="session")
def compute() -> Compute:
    """Settings of a CPU without OpenVINO."""
    return Compute(torch.device("cpu"))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Torch's threads spin while waiting: on a busy machine several take five times as long as one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
