"""Placement of work on cluster nodes by label selectors, which are settings of the parts."""

import time
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data


def _valid_selector(labels: dict[str, str]) -> dict[str, str]:
    if not labels:
        return labels
    import ray  # settings import this module, and ray takes a second

    # Raises ValueError. Otherwise work would fail when its first task starts, after a cluster has been started.
    ray.remote(_valid_selector).options(label_selector=labels)
    return labels


NodeLabels = Annotated[dict[str, str], AfterValidator(_valid_selector)]
"""Node label → required value, such as {"rayreel.io/pool": "cpu"}; empty: any node.

Values may be `cpu`, `!gpu`, `in(a, b)` or `!in(a, b)`: https://docs.ray.io/en/latest/ray-core/scheduling/labels.html
"""


# Ray frees the GPUs of actors that have just ended after a moment.
_FREED_S = 2.0


def free_gpus() -> float:
    """Return the GPUs of the running cluster that nothing reserves."""
    import ray  # settings import this module, and ray takes a second

    free = ray.available_resources().get("GPU", 0.0)
    deadline = time.monotonic() + _FREED_S
    while free < ray.cluster_resources().get("GPU", 0.0) and time.monotonic() < deadline:
        time.sleep(0.1)
        free = ray.available_resources().get("GPU", 0.0)
    return float(free)


def table_on(labels: NodeLabels, table: "pa.Table", blocks: int) -> "ray.data.Dataset":
    """Return a table as a dataset of `blocks` blocks, created on nodes with the labels; later stages set their own.

    Ray Data inspects each block in a task of one CPU, which no option of `from_arrow` places: it could run on a GPU
    node, or start one. The context's selector is restored, as it would apply to every stage.
    """
    import ray.data  # configs import this module, and few of their users need Ray Data

    options = ray.data.DataContext.get_current().execution_options
    before, options.label_selector = options.label_selector, labels or options.label_selector
    try:
        dataset = ray.data.from_arrow(table, override_num_blocks=blocks)
    finally:
        options.label_selector = before
    dataset.context.execution_options.label_selector = before  # the dataset copied the context
    return dataset
