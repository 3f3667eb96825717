"""Code that MLflow runs to build the model, instead of loading an untrusted pickle."""

from mlflow.models import set_model

from rayreel.training.action.model import ActionModel

set_model(ActionModel())
