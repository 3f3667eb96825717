"""Node groups that start at zero: they scale up for work that selects them, and down afterwards."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import ray

from autoscaled import autoscaled
from chain import ROOT
from ray_here import joined
from run import WEIGHTS, rows

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

POOL = "rayreel.io/pool"
GROUPS = {
    "cpu": {"resources": {"CPU": 2}, "labels": {POOL: "cpu"}, "max_workers": 2},
    "gpu": {"resources": {"CPU": 2, "GPU": 1}, "labels": {POOL: "gpu"}, "max_workers": 2},
}
# As in an overlay.
PLACED = {
    "RAYREEL_EXTRACT__DECODE_ON": '{"rayreel.io/pool": "cpu"}',
    "RAYREEL_EXTRACT__ENCODE_ON": '{"rayreel.io/pool": "gpu"}',
    "RAYREEL_EXTRACT__GPUS_PER_ENCODER": "1",
    "RAYREEL_EXTRACT__ENCODER_ACTORS": "1",
    "RAYREEL_ENCODERS__DEVICE": "cpu",
    "RAYREEL_ENCODERS__CACHE_DIR": str(WEIGHTS),
}


def pools() -> Counter[str]:
    """Return the number of live nodes of each group."""
    return Counter(node["Labels"][POOL] for node in ray.nodes() if node["Alive"] and POOL in node["Labels"])


def test_groups_scale_from_zero_for_an_extraction_and_back(films: Path, tmp_path: Path, ray_folder: str) -> None:
    storage = tmp_path / "storage"
    with autoscaled(GROUPS, ray_folder, idle_s=6) as address, joined(address):
        assert not pools()
        command = [sys.executable, "jobs/extract.py", "--catalog", str(films), "--storage", str(storage)]
        environment = os.environ | PLACED | {"RAY_ADDRESS": address}
        with (tmp_path / "log").open("w") as log:
            job = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        most: Counter[str] = Counter()
        while job.poll() is None:
            most |= pools()
            time.sleep(0.5)
        assert job.returncode == 0, (tmp_path / "log").read_text()
        assert most["cpu"] >= 1 and most["gpu"] >= 1
        assert len(rows(storage)) == len(list(films.iterdir()))
        deadline = time.monotonic() + 90
        while pools() and time.monotonic() < deadline:
            time.sleep(0.5)
        assert not pools(), "idle nodes stay"
