"""Calls to Milvus that outlive its restart, and its errors in our words."""

from collections.abc import Callable
from typing import Any

import grpc  # type: ignore[import-untyped]
from pymilvus import MilvusException
from pymilvus.client.types import Status
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from rayreel.index.config import IndexUnavailable


def is_disconnected(error: BaseException) -> bool:
    """Whether a call failed because no server was there; it may be back in a moment."""
    if isinstance(error, MilvusException):
        return error.code in (Status.CONNECT_FAILED, grpc.StatusCode.UNAVAILABLE)
    return isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.UNAVAILABLE


def through_restarts(patience_s: float) -> Retrying:
    """Repeat a call while the server is away, for `patience_s` seconds. For calls that may be repeated.

    pymilvus tries to reconnect once and gives up; a server that restarts takes a few seconds.
    """
    return Retrying(
        retry=retry_if_exception(is_disconnected),
        stop=stop_after_delay(patience_s),
        wait=wait_exponential(0.05, max=1),
        reraise=True,
    )


def ask(patience_s: float, call: Callable[..., Any], *args: Any, timeout: float, **options: Any) -> Any:  # noqa: ANN401
    """Call Milvus, `timeout` seconds for each attempt, through restarts of `patience_s`.

    Raises:
        IndexUnavailable: no server answered. Errors that the server gave pass through.
    """
    try:
        return through_restarts(patience_s)(call, *args, **options, timeout=timeout)
    except (MilvusException, grpc.RpcError) as error:
        if isinstance(error, MilvusException) and not is_disconnected(error):
            raise
        raise IndexUnavailable(
            f"Milvus did not answer within {min(patience_s, timeout):g} s: {error}. Restart it or raise timeout_s; "
            "with Milvus Lite, the cause is in the Ray logs of actor MilvusLiteOwner."
        ) from error
