"""What MLflow runs to build the model: code it can read, instead of a pickle it would have to trust."""

from mlflow.models import set_model

from rayreel.release.model import TowerModel

set_model(TowerModel())
