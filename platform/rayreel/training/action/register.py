"""A trained video network becomes an encoder: files below the storage root, and a model in the registry."""

import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema
from mlflow.types.schema import TensorSpec

from rayreel.encoders.encoder import Modality
from rayreel.encoders.presets import ENCODERS
from rayreel.encoders.trained import CONFIG, FOLDER, NAME, WEIGHTS, write_trained
from rayreel.errors import RayreelError
from rayreel.storage import Storage
from rayreel.training.action.model import ARTIFACT
from rayreel.training.action.train import TrainedAction

MODEL = "rayreel-action"
_NEEDED = ("rayreel", "torch", "torchvision", "safetensors", "pydantic", "numpy")


@dataclass(frozen=True, slots=True)
class Registered:
    """Where the encoder lies, and its version of MODEL in the registry."""

    folder: str
    version: int


def check_new_name(storage: Storage, name: str) -> None:
    """Raise RayreelError for a name that no encoder can have, or that one has: features of it may need it for ever."""
    if not NAME.fullmatch(name):
        raise RayreelError(f"{name!r} cannot name an encoder. Use letters, digits, dots, - and _, such as action-2.")
    if name in ENCODERS[Modality.VISUAL] or storage.exists(storage.path(FOLDER, name, CONFIG)):
        raise RayreelError(f"There is an encoder {name!r} already. Give the new one another --name.")


def register_action(trained: TrainedAction, storage: Storage, tags: dict[str, str]) -> Registered:
    """Write the encoder below the storage root, then log it to the active run as the newest version of MODEL.

    Raises RayreelError where the name is taken, and MlflowException where MLflow is away; the files are there by then.
    """
    check_new_name(storage, trained.facts.name)
    folder = write_trained(storage, trained.facts, trained.weights)
    number = _log(trained)
    client = mlflow.MlflowClient()
    for key, value in {"encoder": trained.facts.name, "sha256": trained.facts.sha256, **tags}.items():
        client.set_model_version_tag(MODEL, str(number), key, value)
    return Registered(folder, number)


def _log(trained: TrainedAction) -> int:
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        # MLflow wants an example of the input: a megabyte of pixels in JSON.
        warnings.filterwarnings("ignore", message=".*input example")
        folder = Path(scratch) / ARTIFACT
        folder.mkdir()
        (folder / WEIGHTS).write_bytes(trained.weights)
        (folder / CONFIG).write_text(trained.facts.model_dump_json(indent=2))
        logged = mlflow.pyfunc.log_model(
            name=ARTIFACT,
            python_model=str(Path(__file__).with_name("model_code.py")),
            artifacts={ARTIFACT: str(folder)},
            signature=_signature(trained),
            registered_model_name=MODEL,
            pip_requirements=[f"{name}=={installed(name)}" for name in _NEEDED],
        )
    return int(logged.registered_model_version)


def _signature(trained: TrainedAction) -> ModelSignature:
    """Windows of frames in, vectors out, as MLflow checks it."""
    looks_at = trained.facts.network
    frames = TensorSpec(np.dtype("uint8"), (-1, looks_at.window, looks_at.size, looks_at.size, 3))
    vectors = TensorSpec(np.dtype("float32"), (-1, looks_at.channels[-1]))
    return ModelSignature(inputs=Schema([frames]), outputs=Schema([vectors]))
