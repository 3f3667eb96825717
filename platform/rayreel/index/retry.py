"""Call Milvus with retries across restarts, and convert its connection errors."""

from collections.abc import Callable
from typing import Any

import grpc
from pymilvus import MilvusException
from pymilvus.client.types import Status
from pymilvus.exceptions import ErrorCode
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from rayreel.index.config import CollectionGone, IndexUnavailable


def is_disconnected(error: BaseException) -> bool:
    """Whether a call failed because the server was unreachable; it may be restarting."""
    if isinstance(error, MilvusException):
        return error.code in (Status.CONNECT_FAILED, grpc.StatusCode.UNAVAILABLE)
    return isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.UNAVAILABLE


def retrying(retry_s: float) -> Retrying:
    """Retry a call for `retry_s` seconds while the server is unreachable. Only for idempotent calls.

    pymilvus reconnects once and gives up; a restart of the server takes a few seconds.
    """
    return Retrying(
        retry=retry_if_exception(is_disconnected),
        stop=stop_after_delay(retry_s),
        wait=wait_exponential(0.05, max=1),
        reraise=True,
    )


def call_milvus(retry_s: float, call: Callable[..., Any], *args: Any, timeout: float, **options: Any) -> Any:  # noqa: ANN401
    """Call Milvus with `timeout` seconds per attempt, retrying for `retry_s` seconds while it is unreachable.

    Raises:
        IndexUnavailable: the server did not answer.
        CollectionGone: the collection does not exist. Other errors reported by the server pass through.
    """
    try:
        return retrying(retry_s)(call, *args, **options, timeout=timeout)
    except (MilvusException, grpc.RpcError) as error:
        if isinstance(error, MilvusException) and error.code == ErrorCode.COLLECTION_NOT_FOUND:
            raise CollectionGone("The release was dropped while it was searched. Send the request again.") from error
        if isinstance(error, MilvusException) and not is_disconnected(error):
            raise
        raise IndexUnavailable(
            f"Milvus did not answer within {min(retry_s, timeout):g} s: {error}. Restart it or raise timeout_s; "
            "for Milvus Lite, see the Ray logs of the actor MilvusLiteOwner."
        ) from error
