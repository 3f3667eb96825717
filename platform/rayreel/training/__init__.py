"""Training: Ray Train loop, pairs, checkpoints and MLflow tracking."""
