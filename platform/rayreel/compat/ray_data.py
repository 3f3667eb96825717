"""The constructor arguments of Ray Data's actors."""

from typing import Any

from ray.data._internal.execution.node_trackers.actor_location import get_or_create_actor_location_tracker
from ray.data._internal.execution.operators import actor_pool_map_operator as pool

_START = pool.ActorPoolMapOperator._start_actor


class _Tracker:
    """Looks up the actor location tracker by name, because its handle would be a reference too."""

    def __init__(self) -> None:
        get_or_create_actor_location_tracker()  # created on the driver's node, so that it ends with the driver

    @property
    def update_actor_location(self) -> Any:  # noqa: ANN401 - a method of an actor's handle
        return get_or_create_actor_location_tracker().update_actor_location


def _start_by_value(operator: Any, *args: Any) -> Any:  # noqa: ANN401 - Ray's types
    """Call `_start_actor` with the values in place of the references."""
    kept = {name: operator.__dict__.pop(name, None) for name in ("_map_transformer_ref", "_data_context_ref")}
    operator.__dict__ |= {"_map_transformer_ref": operator._map_transformer, "_data_context_ref": operator.data_context}
    try:
        return _START(operator, *args)
    finally:
        for name, reference in kept.items():
            del operator.__dict__[name]
            if reference is not None:
                operator.__dict__[name] = reference


def pass_by_value() -> None:
    """Patch Ray Data so that the actor pools of this process pass arguments by value.

    Ray Data 2.60 puts an actor's code and context into the object store and passes references to the actor. Ray logs a
    C++ warning about this at every extraction, because an actor cannot restart once its arguments are lost
    (ray-project/ray#57733 and #53727). Passed by value, they are part of the actor's specification and survive. Can go
    once Ray Data passes no references.
    """
    pool.ActorPoolMapOperator._start_actor = _start_by_value
    pool.get_or_create_actor_location_tracker = _Tracker
