"""Ray's token authentication, which Ray sets up once: when it is imported."""

import os
from typing import TYPE_CHECKING, Any

from rayreel.compat.ray_startup import AUTH_MODE

if TYPE_CHECKING:
    import grpc

ANSWER_S = 10


def set_mode(mode: str | None) -> None:
    """Set the mode of this process and its children: token, disabled, or None for Ray's default.

    Ray 2.60 reads the variable only when it is imported. Its initialisation can go once it reads it later.
    """
    if mode is None:
        os.environ.pop(AUTH_MODE, None)
    else:
        os.environ[AUTH_MODE] = mode
    _raylet().Config.initialize("")


def has_token() -> bool:
    """Whether Ray finds a token, whatever the mode. Ray has no public function for it."""
    found: bool = _token_loader().has_token(ignore_auth_mode=True)
    return found


def reload_token() -> None:
    """Have Ray read the token again. Can go once it reads a changed file: Ray 2.60 keeps the first token it finds."""
    _token_loader().reset_cache()


def answer_of(address: str) -> "grpc.StatusCode":
    """Return the status of a read-only call to the control service of the cluster at `address` (host:port).

    Ray 2.60's `ray.init` raises the same error, after 20 s, for a refused token and for a cluster that is down. Can go
    once a refused token has an error of its own.
    """
    import grpc
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    with init_grpc_channel(address) as channel:
        stub = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        try:
            stub.GetClusterId(gcs_service_pb2.GetClusterIdRequest(), timeout=ANSWER_S)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return grpc.StatusCode.OK


def _token_loader() -> Any:  # noqa: ANN401
    return _raylet().AuthenticationTokenLoader.instance()


def _raylet() -> Any:  # noqa: ANN401 - Ray's compiled part has no types
    from ray import _raylet

    return _raylet
