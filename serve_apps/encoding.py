"""Calls of the encode deployment."""

import asyncio
from typing import Any

import ray
from ray.exceptions import ObjectStoreFullError, OutOfDiskError, RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from serve_apps.content import Content
from serve_apps.limits import remaining
from serve_apps.problems import Busy, Unavailable


class Encoding:
    """Calls a replica of `Encode`, and another one if it dies, because encoding is idempotent.

    If a request is cancelled, its call is cancelled as well.
    """

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def __call__(self, method: str, *args: Any) -> Any:  # noqa: ANN401 - as the method
        """Call a method of `Encode` and return its result. Raises Busy, Unavailable, and what the method raises."""
        return await self._call(self._handle.options(method_name=method), args)

    async def everywhere(self, method: str, *args: Any) -> Any:  # noqa: ANN401 - as the method
        """Call a method of every replica and return the result of one. Raises what any of them raises, Unavailable."""
        found = await self(method, *args)  # waits for the first replica, unlike a broadcast
        try:
            await self._handle.broadcast(method, *args).results_async()
        except (RayActorError, RayServeException) as error:
            raise Unavailable("The encoders do not answer. Try again later.") from error
        return found

    async def video(self, method: str, source: Content | str, *args: Any) -> Any:  # noqa: ANN401 - as the method
        """Call a method that decodes `source`, with the request's remaining seconds as last argument.

        Content goes through Ray's object store. With Serve optimised for throughput, a call by value would be a gRPC
        message of at most 4 MiB, copied several times in both replicas.
        """
        handle = self._handle.options(method_name=method)
        if isinstance(source, str):
            return await self._call(handle, (source, *args, remaining()))
        try:
            reference = await asyncio.to_thread(ray.put, source)
        except (ObjectStoreFullError, OutOfDiskError) as error:
            raise Busy("There is no memory for this upload at the moment. Try again later.") from error
        return await self._call(handle.options(_by_reference=True), (reference, *args, remaining()))

    async def _call(self, handle: DeploymentHandle, args: tuple[Any, ...]) -> Any:  # noqa: ANN401 - as the method
        try:
            try:
                return await _once(handle, args)
            except RayActorError:
                return await _once(handle, args)
        # Caught here, because Serve would respond to these itself, in plain text.
        except BackPressureError as error:
            raise Busy("The encoders are busy and their queue is full. Try again later.") from error
        except (RayActorError, RayServeException) as error:
            raise Unavailable("The encoders do not answer. Try again later.") from error


async def _once(handle: DeploymentHandle, args: tuple[Any, ...]) -> Any:  # noqa: ANN401 - as the method
    response = handle.remote(*args)
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()
        raise
