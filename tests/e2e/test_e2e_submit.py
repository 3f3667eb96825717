"""The README's `ray job submit` on a cluster started with a plain `ray start --head`."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chain import ROOT
from films import write_film
from ports import free_port
from processes import kill_marked
from ray_here import short_folder
from run import WEIGHTS
from train_run import plant_features

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

BIN = Path(sys.executable).parent
STORAGE = "$PWD/storage"
LINES = re.findall(r"^\$ (ray job submit .+)$", (ROOT / "README.md").read_text(), re.MULTILINE)


@dataclass(frozen=True)
class Bare:
    """A running cluster: its dashboard port, and the environment of the shell that started it."""

    port: int
    environment: dict[str, str]

    def submit(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of the README in that shell, on this cluster's port."""
        words = ["bash", "-c", line.replace(":8265", f":{self.port}")]
        return subprocess.run(words, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def bare() -> Iterator[Bare]:
    port = free_port()
    with short_folder() as folder:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "RAYREEL_", "MLFLOW_"))}
        environment = kept | {"RAY_TMPDIR": folder, "HOME": folder, "PATH": f"{BIN}:{kept['PATH']}"}
        environment |= {"RAYREEL_ENCODERS__CACHE_DIR": str(WEIGHTS), "RAY_USAGE_STATS_ENABLED": "0"}
        start = f"ray start --head --port={free_port()} --dashboard-port={port} --ray-client-server-port={free_port()}"
        start += f" --dashboard-agent-listen-port={free_port()}"  # avoids conflicts with other clusters of this machine
        try:
            subprocess.run(start.split(), env=environment, check=True, capture_output=True)
            yield Bare(port, environment)
        finally:
            kill_marked(folder)


def test_the_readme_submits_jobs() -> None:
    assert LINES and all(STORAGE in line for line in LINES)


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_readme_works(line: str, bare: Bare, tmp_path: Path) -> None:
    plant_features(tmp_path)
    done = bare.submit(line.replace(STORAGE, str(tmp_path)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"--storage {tmp_path}" in done.stdout  # of the next command
    assert (tmp_path / "mlflow" / "mlflow.db").exists()


@pytest.mark.parametrize(
    "job", ["train.py --epochs 2", "extract.py --catalog {films}", "extract.py --catalog {films} --storage here"]
)
def test_a_job_that_would_write_to_its_temporary_copy_is_refused(job: str, bare: Bare, tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", tone_hz=None)
    submit = LINES[0].partition("jobs/")[0]
    refused = bare.submit(f"{submit}jobs/{job.format(films=tmp_path)}")
    assert refused.returncode != 0
    assert "SettingsError" in refused.stdout and "--storage /path/to/storage" in refused.stdout
    assert "Traceback" not in refused.stdout
    copies = list(Path(bare.environment["RAY_TMPDIR"]).rglob("_ray_pkg_*"))
    assert copies and not [path for copy in copies for name in ("storage", "here") for path in copy.glob(name)]
