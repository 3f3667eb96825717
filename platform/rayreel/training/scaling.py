"""What Ray Train reserves for the workers of a run."""

import ray
from ray.train import ScalingConfig

from rayreel.training.action.config import ActionConfig
from rayreel.training.config import TrainConfig


def scaling(config: TrainConfig | ActionConfig, fewest: int, most: int) -> ScalingConfig:
    """So many workers, and GPUs where they are asked for or there is one for each. Needs a running Ray."""
    use_gpu = config.use_gpu
    if use_gpu is None:
        use_gpu = ray.cluster_resources().get("GPU", 0) >= fewest
    return ScalingConfig(
        num_workers=fewest if fewest == most else (fewest, most),
        use_gpu=use_gpu,
        resources_per_worker={"CPU": config.cpus_per_worker},
        label_selector=config.on or None,
    )
