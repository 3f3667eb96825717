"""Ray Data's actors take their constructor's arguments by value.

Ray Data 2.60 puts an actor's code and context into the object store and hands the actor references to them, for which
Ray prints a line of C++ at every extraction: an actor that restarts after its arguments were lost fails for good
(ray-project/ray#57733 and #53727). By value, they are a part of the actor's specification, and a restart finds them.
"""

from typing import Any

from ray.data._internal.execution.node_trackers.actor_location import get_or_create_actor_location_tracker
from ray.data._internal.execution.operators import actor_pool_map_operator as pool

_START = pool.ActorPoolMapOperator._start_actor


class _Tracker:
    """The actor that keeps where actors are, found by name; a handle of it would be a reference, too."""

    def __init__(self) -> None:
        get_or_create_actor_location_tracker()  # on the node of the driver, with which it is to end

    @property
    def update_actor_location(self) -> Any:  # noqa: ANN401 - a method of an actor's handle
        return get_or_create_actor_location_tracker().update_actor_location


def _start_by_value(operator: Any, *place: Any) -> Any:  # noqa: ANN401 - Ray's own
    """`_start_actor`, for which the references are the values for a moment."""
    kept = {name: operator.__dict__.pop(name, None) for name in ("_map_transformer_ref", "_data_context_ref")}
    operator.__dict__ |= {"_map_transformer_ref": operator._map_transformer, "_data_context_ref": operator.data_context}
    try:
        return _START(operator, *place)
    finally:
        for name, reference in kept.items():
            del operator.__dict__[name]
            if reference is not None:
                operator.__dict__[name] = reference


def pass_by_value() -> None:
    """Let the actor pools that this process starts from now on be like that."""
    pool.ActorPoolMapOperator._start_actor = _start_by_value
    pool.get_or_create_actor_location_tracker = _Tracker
