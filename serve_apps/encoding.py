"""Asking the encode deployment."""

import asyncio
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from serve_apps.deadlines import remaining
from serve_apps.problems import Busy, Unavailable


class Encoding:
    """Calls one of its replicas; one that dies is replaced by another, once: encoding may be repeated.

    A request that ends early takes the call behind it along.
    """

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def __call__(self, method: str, *args: Any) -> Any:  # noqa: ANN401 - as the method
        """What the method of `Encode` returns. Raises Busy, Unavailable, and what the method raises."""
        try:
            try:
                return await self._once(method, args)
            except RayActorError:
                return await self._once(method, args)
        # Here, as Serve would answer for these itself, in plain text.
        except BackPressureError as error:
            raise Busy("The encoders are busy and their queue is full.") from error
        except (RayActorError, RayServeException) as error:
            raise Unavailable("The encoders do not answer.") from error

    async def timed(self, method: str, *args: Any) -> Any:  # noqa: ANN401 - as the method
        """As a call, telling the method as its last argument how many seconds the request has left."""
        return await self(method, *args, remaining())

    async def _once(self, method: str, args: tuple[Any, ...]) -> Any:  # noqa: ANN401 - as the method
        response = getattr(self._handle, method).remote(*args)
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()
            raise
