from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel

from feature_rows import DIMS, feature_matrix, feature_row
from rayreel.release import model_code
from rayreel.release.model import ARTIFACT, TowerModel, input_example, signature
from rayreel.tower.config import TowerConfig
from rayreel.tower.embed import EmptyQuery, embed
from rayreel.tower.save import save_tower
from rayreel.tower.tower import VideoTower

ROWS = [feature_row("whole", frames=4), feature_row("silent", windows=0), feature_row("sound", frames=0, text=False)]
MATRIX = feature_matrix(*ROWS)


@pytest.fixture
def context(tmp_path: Path) -> SimpleNamespace:
    torch.manual_seed(0)
    save_tower(VideoTower(TowerConfig(dim=16), DIMS), tmp_path)
    return SimpleNamespace(artifacts={ARTIFACT: str(tmp_path)})


@pytest.fixture
def model(context: SimpleNamespace) -> TowerModel:
    model = TowerModel()
    model.load_context(context)
    return model


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> PyFuncModel:
    """The model after saving and loading with MLflow, like in the registry."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "tower").mkdir()
    torch.manual_seed(0)
    save_tower(tower := VideoTower(TowerConfig(dim=16), DIMS), folder / "tower")
    mlflow.pyfunc.save_model(
        folder / "saved",
        python_model=str(Path(model_code.__file__)),
        artifacts={ARTIFACT: str(folder / "tower")},
        signature=signature(),
        input_example=input_example(tower),
        pip_requirements=[],
    )
    return mlflow.pyfunc.load_model(str(folder / "saved"))


def frame(**changed: list[object]) -> pd.DataFrame:
    """Return the rows as nested lists, as in JSON."""
    as_lists = {
        "visual": [row["visual"] and np.stack(row["visual"]).tolist() for row in ROWS],
        "audio": [row["audio"] and np.stack(row["audio"]).tolist() for row in ROWS],
        "text": [row["text"] and row["text"][0].tolist() for row in ROWS],
    }
    return pd.DataFrame(as_lists | changed)


def test_the_model_returns_the_towers_embeddings(model: TowerModel) -> None:
    expected = embed(model.tower, MATRIX)
    np.testing.assert_allclose(model.predict(None, frame()), expected, atol=1e-6)


def test_a_missing_column_an_empty_cell_and_an_empty_list_all_mean_absent(model: TowerModel) -> None:
    only = frame()[["text"]].iloc[:2]
    expected = model.predict(None, only)
    missing: tuple[object, ...] = (None, float("nan"), [])
    for absent in missing:
        cells = pd.Series([absent, absent], dtype=object)
        np.testing.assert_array_equal(model.predict(None, only.assign(visual=cells, audio=cells)), expected)


def test_vectors_may_be_arrays(model: TowerModel) -> None:
    arrays = frame(visual=[row["visual"] and np.stack(row["visual"]) for row in ROWS])
    nested = frame(visual=[np.array([*row["visual"]] if row["visual"] else [], dtype=object) for row in ROWS])
    expected = model.predict(None, frame())
    np.testing.assert_allclose(model.predict(None, arrays), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(None, nested), expected, atol=1e-6)


def test_an_empty_row_is_refused(model: TowerModel) -> None:
    with pytest.raises(EmptyQuery):
        model.predict(None, pd.DataFrame({"text": [None]}))


def test_the_model_loaded_by_mlflow_accepts_lists_arrays_and_missing_columns(loaded: PyFuncModel) -> None:
    expected = embed(loaded.unwrap_python_model().tower, MATRIX)
    np.testing.assert_allclose(loaded.predict(frame()), expected, atol=1e-6)
    arrays = pd.DataFrame({"audio": [np.stack(ROWS[2]["audio"]).astype(np.float32)]})
    np.testing.assert_allclose(loaded.predict(arrays)[0], expected[2], atol=1e-6)


def test_the_input_example_is_stored_with_the_model_and_valid(loaded: PyFuncModel) -> None:
    assert np.linalg.norm(loaded.predict(loaded.input_example)[0]) == pytest.approx(1, abs=1e-5)


def test_mlflow_refuses_a_column_of_the_wrong_shape(loaded: PyFuncModel) -> None:
    with pytest.raises(MlflowException, match="text"):
        loaded.predict(pd.DataFrame({"text": ["waves at the beach"]}))
