"""A catalog large enough to kill its extraction half-way, and the result of an undisturbed run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from chain import ROOT
from films import write_film
from ray_here import short_folder
from run import Run, rows

FILMS = 12
COPIES = 20


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RAYREEL_FAULTS_CATALOG, or 240 ids of twelve films, a text file and a missing file."""
    if path := os.environ.get("RAYREEL_FAULTS_CATALOG"):
        return Path(path).resolve()
    folder = tmp_path_factory.mktemp("faults")
    for number in range(FILMS):
        write_film(folder / f"{number}.mp4", frames=50 + 5 * number, keyframe_every=10 + number)
    (folder / "text.mp4").write_text("no film")
    lines = ["video_id,uri,title,category"]
    lines += [f"v{n:03},{n % FILMS}.mp4,Film number {n},c{n % 4}" for n in range(FILMS * COPIES)]
    lines += ["text,text.mp4,A text,c0", "gone,gone.mp4,Gone,c0"]
    (folder / "catalog.csv").write_text("\n".join(lines))
    return folder / "catalog.csv"


@pytest.fixture
def ray_folder() -> Iterator[str]:
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def undisturbed(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The store's rows after an undisturbed run."""
    storage = tmp_path_factory.mktemp("undisturbed")
    with short_folder() as folder:
        finished = Run(catalog, storage, folder)
        try:
            assert finished.wait() == 0, finished.output()
        finally:
            finished.end()
    return rows(storage)


@pytest.fixture(scope="session", autouse=True)
def _weights() -> None:
    assert (ROOT / "jobs" / "extract.py").exists()
