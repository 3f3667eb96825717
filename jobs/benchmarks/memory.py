"""How rate and memory of an extraction grow with the number of videos."""

import csv
import os
import re
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from rayreel.catalog.read import read_catalog
from rayreel.errors import RayreelError
from rayreel.settings import Settings

_EVERY_S = 0.5
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Growth:
    """One run: how long it took, and peaks in megabytes of driver, largest worker, object store, and what spilled."""

    seconds: float
    megabytes: tuple[float, float, float, float]


def measure_growth(catalog: str, ids: int, settings: Settings) -> Growth:
    """Extract `ids` ids over the catalog's files in a process and a Ray of their own."""
    with tempfile.TemporaryDirectory(prefix="rr", dir="/tmp") as folder:
        manifest = _manifest(catalog, ids, Path(folder))
        words = [sys.executable, "jobs/extract.py", "--catalog", str(manifest), "--storage", f"{folder}/storage"]
        words += ["--set", f"encoders.cache_dir={settings.weights_cache}"]
        environment = os.environ | {"RAY_TMPDIR": folder, "COLUMNS": "160"}
        environment.pop("RAY_ADDRESS", None)
        with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as run:
            watch = _Watch(run.pid, folder)
            watch.start()
            output = run.communicate()[0]
            watch.stop()
        seconds = re.search(r"│ seconds +│ +([\d.]+)", output)
        if run.returncode or seconds is None:
            raise RayreelError(f"extraction of {ids} ids failed:\n{output}")
        return Growth(float(seconds[1]), watch.peaks_mb())


class _Watch(threading.Thread):
    """Looks at the processes of one Ray twice a second. Shared memory counts once, as the object store."""

    def __init__(self, driver: int, ray_folder: str) -> None:
        super().__init__(daemon=True)
        self._driver, self._mark = driver, f"RAY_TMPDIR={ray_folder}\0".encode()
        self._folder = Path(ray_folder)
        self._over = threading.Event()
        self._peak = {"driver": 0, "worker": 0, "store": 0}

    def run(self) -> None:
        while not self._over.wait(_EVERY_S):
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    self._look(process)

    def stop(self) -> None:
        self._over.set()
        self.join()

    def peaks_mb(self) -> tuple[float, float, float, float]:
        spilled = sum(file.stat().st_size for file in self._folder.rglob("ray_spilled_objects*/*") if file.is_file())
        return *(self._peak[name] / 2**20 for name in ("driver", "worker", "store")), spilled / 2**20

    def _look(self, process: Path) -> None:
        try:
            if self._mark not in (process / "environ").read_bytes() and int(process.name) != self._driver:
                return
            _, resident, shared, *_ = (int(pages) * _PAGE for pages in (process / "statm").read_text().split())
            name = (process / "cmdline").read_bytes()
            store = _store_bytes(process) if b"raylet" in name.split(b"\0")[0] else 0
        except (OSError, ValueError):  # gone, or a file of it closed, since it was listed
            return
        if int(process.name) == self._driver:
            self._note("driver", resident - shared)
        elif name.startswith(b"ray::"):
            self._note("worker", resident - shared)
        self._note("store", store)

    def _note(self, name: str, value: int) -> None:
        self._peak[name] = max(self._peak[name], value)


def _store_bytes(raylet: Path) -> int:
    """Memory that the object store has touched so far: its file has no name any more, but the raylet holds it open."""
    files = [fd for fd in (raylet / "fd").iterdir() if str(fd.readlink()).startswith("/dev/shm/plasma")]  # noqa: S108
    return sum({(stat := fd.stat()).st_ino: stat.st_blocks * 512 for fd in files}.values())


def _manifest(catalog: str, ids: int, folder: Path) -> Path:
    videos = read_catalog(catalog).videos
    path = folder / "catalog.csv"
    with path.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["video_id", "uri", "title", "category"])
        for number in range(ids):
            video = videos[number % len(videos)]
            rows.writerow([f"{video.video_id}#{number}", video.uri, video.title, video.category])
    return path
