"""The registered video network as an MLflow model: maps windows of frames to vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.pyfunc import PythonModel, PythonModelContext
from numpy.typing import NDArray

from rayreel.encoders.compute import Compute
from rayreel.encoders.windows import load_trained

ARTIFACT = "encoder"


class ActionModel(PythonModel):  # type: ignore[misc]
    """A trained encoder in MLflow's pyfunc flavour."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the encoder from the model's artifacts."""
        folder = Path(context.artifacts[ARTIFACT]).resolve()
        self.encoder = load_trained(str(folder), None, "", Compute(torch.device("cpu")))

    # MLflow accepts exactly this type hint, and warns about any other.
    def predict(self, context: PythonModelContext, model_input: np.ndarray, params: Any = None) -> NDArray[np.float32]:  # noqa: ANN401
        """Encode windows, uint8 RGB [N, window, size, size, 3], to vectors, float32 [N, dim]."""
        return self.encoder.encode(model_input.reshape(-1, *model_input.shape[2:]))
