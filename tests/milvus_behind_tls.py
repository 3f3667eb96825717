"""Milvus Lite as a server that requires TLS and a token, like a hosted Milvus."""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymilvus.grpc_gen.milvus_pb2_grpc import add_MilvusServiceServicer_to_server

from rayreel.compat.milvus_lite import Servicer, open_database

TOKEN = "root:a secret"
SERVER_NAME = "milvus.example"


@contextmanager
def serve_behind_tls(folder: Path) -> Iterator[tuple[str, Path]]:
    """Serve a new Milvus Lite; yield its address and the certificate to trust."""
    key, certificate = _self_signed()
    (folder / "ca.pem").write_bytes(certificate)
    database = open_database(str(folder / "data"))
    server = grpc.server(ThreadPoolExecutor(10), interceptors=[TokenCheck()])
    add_MilvusServiceServicer_to_server(Servicer(database), server)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    try:
        yield f"https://127.0.0.1:{port}", folder / "ca.pem"
    finally:
        server.stop(grace=1).wait()
        database.close()


class TokenCheck(grpc.ServerInterceptor):  # type: ignore[misc] # gRPC has no types
    """Rejects every call without the token, sent as in Milvus: base64 in the authorization header."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        token = dict(details.invocation_metadata).get("authorization", "")
        if token == base64.b64encode(TOKEN.encode()).decode():
            return continuation(details)
        return grpc.unary_unary_rpc_method_handler(_refuse)


def _refuse(_: object, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure, please check the token")


def _self_signed() -> tuple[bytes, bytes]:
    """A private key and its self-signed certificate, both PEM, valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)
