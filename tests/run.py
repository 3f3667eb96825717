"""An extraction in a process of its own, to be disturbed."""

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
    """`jobs/extract.py` on a catalog, with a Ray of its own."""

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
        """The exit status."""
        return self.process.wait(timeout_s)

    def wait_until_written(self, files: int, timeout_s: float = 120) -> None:
        """Wait until so many files of features are there; the run must not be over by then."""
        deadline = time.monotonic() + timeout_s
        while len(list(self.storage.glob("features/*/part-*.parquet"))) < files:
            assert self.process.poll() is None, f"over too early:\n{self.output()}"
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)

    def kill(self, matching: Callable[[str], bool]) -> list[str]:
        """SIGKILL those of its processes whose title matches."""
        return kill_marked(self.ray_folder, matching)

    def end(self) -> None:
        """Leave no process behind."""
        self.process.kill()
        self.process.wait()
        kill_marked(self.ray_folder)

    def output(self) -> str:
        """What it printed."""
        return self.log.read_text()

    def told(self, name: str) -> int:
        """A number of its closing table."""
        line = next(line for line in self.output().splitlines() if f"│ {name} " in line)
        return int(line.split("│")[2])


def rows(storage: Path) -> pa.Table:
    """All feature rows on disk, duplicates included, ordered, without regard to files."""
    tables = [pq.read_table(path) for path in storage.glob("features/*/part-*.parquet")]
    return pa.concat_tables(tables).sort_by([("video_id", "ascending")])


def quarantine(storage: Path) -> dict[str, str]:
    """video_id → reason of all quarantine rows on disk."""
    tables = [pq.read_table(path) for path in storage.glob("quarantine/*/part-*.parquet")]
    return {row["video_id"]: row["reason"] for table in tables for row in table.to_pylist()}
