"""Local HTTP servers that simulate the internet and an internal network."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Headers = dict[str, str]
Answer = Callable[["Handler"], None]
SECRET = b"role,credentials\nAKIA,hunter2\n"


class Server(ThreadingHTTPServer):
    """Responds with SECRET, except at the paths of `answers`; records all requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.headers: list[Headers] = []
        self.answers: dict[str, Answer] = {}
        self.scheme = "http"

    def url(self, path: str, host: str = "127.0.0.1", user: str = "") -> str:
        return f"{self.scheme}://{user}{host}:{self.server_port}{path}"

    def redirect(self, path: str, *headers: tuple[str, str], status: int = 302) -> None:
        """Respond at `path` with these headers and no content."""
        self.answers[path] = lambda handler: handler.send(status, b"", *headers)

    def content(self, path: str, content: bytes, *headers: tuple[str, str]) -> None:
        self.answers[path] = lambda handler: handler.send(200, content, *headers)

    def ranges(self, path: str, content: bytes) -> None:
        """Respond with the part of `content` that the Range header names, as RFC 9110 says."""
        self.answers[path] = lambda handler: handler.send_part(content)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        if answer := self.server.answers.get(self.path):
            answer(self)
        else:
            self.send(200, SECRET)

    def send(self, status: int, content: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def send_part(self, content: bytes) -> None:
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        start = int(first) if first else max(0, len(content) - int(last))
        part = content[start : int(last) + 1 if first and last else None]
        self.send(206, part, ("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}"))

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_tls(folder: Path) -> Iterator[Server]:
    """Run an https server with a self-signed certificate, written to `folder / "server.pem"`."""
    (chain := folder / "server.pem").write_bytes(key_and_certificate())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    server = Server()
    server.scheme, server.socket = "https", context.wrap_socket(server.socket, server_side=True)
    with running(server):
        yield server


@contextmanager
def running(server: Server) -> Iterator[Server]:
    with server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server
        server.shutdown()


def key_and_certificate() -> bytes:
    """Return both as PEM, for 127.0.0.1, localhost and films.example, valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    names = [x509.DNSName("films.example"), x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
