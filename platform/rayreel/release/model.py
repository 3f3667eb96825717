"""The registered MLflow model: maps features to embeddings."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types import Schema
from mlflow.types.schema import Array, ColSpec, DataType

from rayreel.encoders.encoder import Modality
from rayreel.tower.embed import embed_query
from rayreel.tower.embedder import Embedder
from rayreel.tower.save import load_tower

ARTIFACT = "tower"


class TowerModel(PythonModel):  # type: ignore[misc]
    """pyfunc flavour of a tower: one embedding per row, one row per video."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the tower from the model's artifacts."""
        self.tower = load_tower(Path(context.artifacts[ARTIFACT]))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> list[list[float]]:  # noqa: ANN401
        """Return unit embeddings [rows, dim] for columns visual [n, Dv], audio [n, Da], text [Dt], each optional.

        Raises EmptyQuery if all columns of a row are null.
        """
        rows = model_input.to_dict(orient="records")
        return [embed_query(self.tower, _vectors(row)).tolist() for row in rows]


def signature() -> ModelSignature:
    """Return the model's inputs and outputs, which MLflow checks."""
    matrix, vector = Array(Array(DataType.double)), Array(DataType.double)
    inputs = [
        ColSpec(vector if modality is Modality.TEXT else matrix, name=modality.value, required=False)
        for modality in Modality
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec(vector)]))


def input_example(tower: Embedder) -> pd.DataFrame:
    """Return an example input: one query by text, or by another modality if the tower does not read text."""
    shown = Modality.TEXT if Modality.TEXT in tower.modalities else next(iter(tower.modalities))
    vector = [1.0] + [0.0] * (tower.dims[shown] - 1)
    return pd.DataFrame({shown.value: [vector if shown is Modality.TEXT else [vector]]})


def _vectors(row: dict[Hashable, Any]) -> dict[Modality, np.ndarray[Any, np.dtype[np.float32]]]:
    found = {}
    for modality in Modality:
        value = row.get(modality.value)
        if value is not None and not (isinstance(value, float) and np.isnan(value)) and len(value):
            stacked = np.stack([np.asarray(part, np.float32) for part in value])
            found[modality] = stacked if stacked.ndim == 2 else stacked[None]
    return found
