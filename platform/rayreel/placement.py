"""Which nodes of a cluster do which work: label selectors, as settings of the parts whose work it is."""

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data


def _selectable(labels: dict[str, str]) -> dict[str, str]:
    if not labels:
        return labels
    from ray._private.label_utils import validate_label_selector  # settings import this module, and ray takes a second

    # Ray says so itself only when the first task is started, which is after a cluster has been.
    if wrong := validate_label_selector(labels):
        raise ValueError(wrong)
    return labels


NodeLabels = Annotated[dict[str, str], AfterValidator(_selectable)]
"""A label of nodes → the value it has to have, such as {"rayreel.io/pool": "cpu"}; empty: any node will do.

Values may be `cpu`, `!gpu`, `in(a, b)` or `!in(a, b)`: https://docs.ray.io/en/latest/ray-core/scheduling/labels.html
"""


def table_on(labels: NodeLabels, table: "pa.Table", blocks: int) -> "ray.data.Dataset":
    """A table as a dataset of so many blocks, made on nodes with the labels; later stages state their own.

    Ray Data looks at each block in a task of a whole CPU, which no option of `from_arrow` places: it would run on a GPU
    node, or have one started. The context's selector, left as it was, would hold for every stage.
    """
    import ray.data  # configs import this module, and few of their readers need Ray Data

    options = ray.data.DataContext.get_current().execution_options
    before, options.label_selector = options.label_selector, labels or options.label_selector
    try:
        dataset = ray.data.from_arrow(table, override_num_blocks=blocks)
    finally:
        options.label_selector = before
    dataset.context.execution_options.label_selector = before  # it has taken a copy
    return dataset
