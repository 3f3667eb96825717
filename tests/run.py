"""An extraction in a separate process, for tests that disturb it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from chain import ROOT
from processes import kill_marked

WEIGHTS = ROOT / ".rayreel-test" / "weights"


class Run:
    """`jobs/extract.py` on a catalog, with its own Ray."""

    def __init__(self, catalog: Path, storage: Path, ray_folder: str, *words: str) -> None:
        self.storage, self.ray_folder = storage, ray_folder
        self.log = storage.parent / f"{storage.name}.log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "RAYREEL_"))}
        environment |= {"RAY_TMPDIR": ray_folder, "RAY_AUTH_TOKEN_PATH": f"{ray_folder}/auth_token"}
        environment |= {"RAYREEL_ENCODERS__CACHE_DIR": str(WEIGHTS)}
        command = [sys.executable, "jobs/extract.py", "--catalog", str(catalog), "--storage", str(storage), *words]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def wait(self, timeout_s: float = 300) -> int:
        """Wait for the end and return the exit status."""
        return self.process.wait(timeout_s)

    def wait_until_written(self, files: int, timeout_s: float = 120) -> None:
        """Wait until this many feature files exist; fails if the run ends first."""
        deadline = time.monotonic() + timeout_s
        while len(list(self.storage.glob("features/*/part-*.parquet"))) < files:
            assert self.process.poll() is None, f"ended too early:\n{self.output()}"
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)

    def kill(self, matching: Callable[[str], bool]) -> list[str]:
        """SIGKILL its processes whose title matches."""
        return kill_marked(self.ray_folder, matching)

    def end(self) -> None:
        """Kill all its processes."""
        self.process.kill()
        self.process.wait()
        kill_marked(self.ray_folder)

    def output(self) -> str:
        """Return its output so far."""
        return self.log.read_text()

    def reported(self, name: str) -> int:
        """Return a number from its final table."""
        line = next(line for line in self.output().splitlines() if f"│ {name} " in line)
        return int(line.split("│")[2])


def rows(storage: Path) -> pa.Table:
    """Return all feature rows on disk, including duplicates, ordered by video_id."""
    tables = [pq.read_table(path) for path in storage.glob("features/*/part-*.parquet")]
    return pa.concat_tables(tables).sort_by([("video_id", "ascending")])


def quarantine(storage: Path) -> dict[str, str]:
    """Return the reason of every quarantine row on disk by video_id."""
    tables = [pq.read_table(path) for path in storage.glob("quarantine/*/part-*.parquet")]
    return {row["video_id"]: row["reason"] for table in tables for row in table.to_pylist()}
