"""Asking the encode deployment."""

import asyncio
from typing import Any

import ray
from ray.exceptions import ObjectStoreFullError, OutOfDiskError, RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from serve_apps.content import Content
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
        return await self._asked(self._handle.options(method_name=method), args)

    async def video(self, method: str, source: Content | str, *args: Any) -> Any:  # noqa: ANN401 - as the method
        """What a method that decodes `source` returns, which gets the seconds that the request has left as well.

        Content goes through Ray's object store: where Serve is optimised for throughput, a call by value is one gRPC
        message, of 4 MiB at most, and several copies in the memory of both replicas.
        """
        handle = self._handle.options(method_name=method)
        if isinstance(source, str):
            return await self._asked(handle, (source, *args, remaining()))
        try:
            reference = await asyncio.to_thread(ray.put, source)
        except (ObjectStoreFullError, OutOfDiskError) as error:
            raise Busy("There is no room for this upload now.") from error
        return await self._asked(handle.options(_by_reference=True), (reference, *args, remaining()))

    async def _asked(self, handle: DeploymentHandle, args: tuple[Any, ...]) -> Any:  # noqa: ANN401 - as the method
        try:
            try:
                return await _once(handle, args)
            except RayActorError:
                return await _once(handle, args)
        # Here, as Serve would answer for these itself, in plain text.
        except BackPressureError as error:
            raise Busy("The encoders are busy and their queue is full.") from error
        except (RayActorError, RayServeException) as error:
            raise Unavailable("The encoders do not answer.") from error


async def _once(handle: DeploymentHandle, args: tuple[Any, ...]) -> Any:  # noqa: ANN401 - as the method
    response = handle.remote(*args)
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()
        raise
