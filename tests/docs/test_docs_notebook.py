"""The notebook of the documentation, executed from the first cell to the last."""

import os
from collections.abc import Iterator

import nbformat
import pytest
from nbclient import NotebookClient

from chain import ROOT
from processes import kill_marked
from ray_here import short_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[nbformat.NotebookNode]]:
    """The executed code cells, on a Ray of the notebook's own."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    with short_folder() as ray_folder:
        own = ("RAY_", "RAYREEL_", "MLFLOW_", "MILVUS_")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(own)} | {
            "RAY_ADDRESS": "local",
            "RAY_TMPDIR": ray_folder,
            "RAY_AUTH_TOKEN_PATH": str(folder / "auth_token"),
            "RAYREEL_ENCODERS__CACHE_DIR": str(ROOT / ".rayreel-test" / "weights"),
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("platform", ".")),
        }
        client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(folder)}})
        try:
            client.execute(env=environment)
            yield [cell for cell in notebook.cells if cell.cell_type == "code"]
        finally:
            kill_marked(ray_folder)


def result(cells: list[nbformat.NotebookNode], code: str, kind: str = "text/plain") -> str:
    """Return the value that the cell with this code ends with."""
    [cell] = [cell for cell in cells if code in cell.source]
    [value] = [output.data[kind] for output in cell.outputs if output.output_type == "execute_result"]
    return str(value)


def test_every_cell_of_the_notebook_runs_and_shows_its_result(cells: list[nbformat.NotebookNode]) -> None:
    assert "rows=48, extracted=48" in result(cells, "rayreel.extract(")
    assert "Version(number=1" in result(cells, "rayreel.train(")
    assert "untrained tower" in result(cells, "rayreel.evaluate(", "text/html")
    assert "Version(number=1" in result(cells, "rayreel.promote(")
    assert "3 results of release 1" in result(cells, "rayreel.recommend(text=")
    assert "neighbours" in result(cells, "explain=True", "text/html")
    assert "5 results of release 1" in result(cells, "rayreel.recommend(user=")


def test_the_notebook_shows_the_steps_of_the_commands(cells: list[nbformat.NotebookNode]) -> None:
    shown = "\n".join(str(output) for cell in cells for output in cell.outputs)
    for step in ("Extracting 48 rows", "Training on", "Evaluating rayreel-tower", "Promoting rayreel-tower"):
        assert step in shown
