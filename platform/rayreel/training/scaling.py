"""The resources that Ray Train reserves for the workers of a run."""

import ray
from ray.train import ScalingConfig

from rayreel.training.action.config import ActionConfig
from rayreel.training.config import TrainConfig


def scaling(config: TrainConfig | ActionConfig, fewest: int, most: int) -> ScalingConfig:
    """Return the scaling configuration for this range of workers; requires a running Ray.

    Workers get a GPU each if the configuration asks for it or, if unset, the cluster has one for each.
    """
    use_gpu = config.use_gpu
    if use_gpu is None:
        use_gpu = ray.cluster_resources().get("GPU", 0) >= fewest
    return ScalingConfig(
        num_workers=fewest if fewest == most else (fewest, most),
        use_gpu=use_gpu,
        resources_per_worker={"CPU": config.cpus_per_worker},
        label_selector=config.on or None,
    )
