"""What MLflow runs to build the model: code it can read, instead of a pickle it would have to trust."""

from mlflow.models import set_model

from rayreel.training.action.model import ActionModel

set_model(ActionModel())
