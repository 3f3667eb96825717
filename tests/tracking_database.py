"""MLflow's database with all tables and no runs, to be copied: creating it takes MLflow two seconds."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import mlflow

from rayreel.storage import Storage


def with_database(root: Path) -> Storage:
    """Return the storage root with an empty database, where MLflow has none yet."""
    (root / "mlflow").mkdir(parents=True)
    shutil.copy(_empty(), root / "mlflow" / "mlflow.db")
    return Storage(root)


@cache
def _empty() -> Path:
    folder = tempfile.mkdtemp(prefix="rr-mlflow-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    database = Path(folder) / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{database}").search_experiments()
    return database
