"""Register a trained video network as an encoder: files below the storage root and a model in the registry."""

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
from rayreel.encoders.registry import ENCODERS, NAMED_CHECKPOINTS
from rayreel.encoders.trained import CONFIG, FOLDER, NAME, WEIGHTS, read_facts, write_trained
from rayreel.errors import RayreelError
from rayreel.storage import Storage
from rayreel.training.action.model import ARTIFACT
from rayreel.training.action.train import TrainedAction

MODEL = "rayreel-action"
_NEEDED = ("rayreel", "torch", "torchvision", "safetensors", "pydantic", "numpy")


@dataclass(frozen=True, slots=True)
class Registered:
    """The folder of the encoder, and its version of MODEL in the registry."""

    folder: str
    version: int


def check_new_name(storage: Storage, name: str) -> None:
    """Raise RayreelError if the name is invalid or taken. Encoders are never replaced: features may depend on them."""
    if not NAME.fullmatch(name):
        raise RayreelError(
            f"{name!r} is not a valid encoder name. Use letters, digits, dots, - and _, such as action-2."
        )
    known = {**ENCODERS[Modality.VISUAL], **NAMED_CHECKPOINTS[Modality.VISUAL]}
    if name in known or storage.exists(storage.path(FOLDER, name, CONFIG)):
        raise RayreelError(f"An encoder named {name!r} already exists. Choose another --name.")


def register_action(trained: TrainedAction, storage: Storage, run_id: str) -> Registered:
    """Write the encoder below the storage root, then log it to the active run as the newest version of MODEL.

    What a run did before it was interrupted is not repeated. Raises RayreelError if the name is taken by another
    encoder, and MlflowException if MLflow is unavailable, after writing the files.
    """
    name = trained.facts.name
    if read_facts(name, storage.root) != trained.facts:
        check_new_name(storage, name)
        write_trained(storage, trained.facts, trained.weights)
    client = mlflow.MlflowClient()
    logged = [each for each in client.search_model_versions(f"run_id='{run_id}'") if each.name == MODEL]
    number = int(logged[0].version) if logged else _log(trained)
    for key, value in {"encoder": name, "sha256": trained.facts.sha256, "run": run_id}.items():
        client.set_model_version_tag(MODEL, str(number), key, value)
    return Registered(storage.path(FOLDER, name), number)


def _log(trained: TrainedAction) -> int:
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        # MLflow asks for an input example, which would be a megabyte of pixels in JSON.
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
    """The model's input and output tensors, which MLflow enforces."""
    network = trained.facts.network
    frames = TensorSpec(np.dtype("uint8"), (-1, network.window, network.size, network.size, 3))
    vectors = TensorSpec(np.dtype("float32"), (-1, network.channels[-1]))
    return ModelSignature(inputs=Schema([frames]), outputs=Schema([vectors]))
