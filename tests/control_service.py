"""The part of Ray's control service that checks tokens."""

from concurrent import futures

import grpc
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc


class ControlService(gcs_service_pb2_grpc.NodeInfoGcsServiceServicer):  # type: ignore[misc] # gRPC has no types
    """Refuses every call without the token."""

    def __init__(self, token: str | None) -> None:
        self.expected = None if token is None else f"Bearer {token}"

    def GetClusterId(self, request: object, context: grpc.ServicerContext) -> object:
        if self.expected and dict(context.invocation_metadata()).get("authorization") != self.expected:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
        return gcs_service_pb2.GetClusterIdReply(cluster_id=b"id")


def serving(token: str | None) -> tuple[grpc.Server, str]:
    """Start the service; None: it requires no token. Return the server and its address."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    gcs_service_pb2_grpc.add_NodeInfoGcsServiceServicer_to_server(ControlService(token), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"
