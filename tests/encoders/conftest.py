from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rayreel.encoders.compute import Compute


@pytest.fixture(scope="session")
def weights_cache() -> Path:
    """Downloaded once, kept between runs."""
    return Path(__file__).parents[2] / ".rayreel-test" / "weights"


@pytest.fixture(scope="session")
def compute() -> Compute:
    """As on a CPU without OpenVINO."""
    return Compute(torch.device("cpu"))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Torch's threads wait for each other by spinning: several on a busy machine take five times as long as one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
