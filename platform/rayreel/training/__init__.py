"""Training: Ray Train loop, pairs, checkpoints, tracking in MLflow."""
