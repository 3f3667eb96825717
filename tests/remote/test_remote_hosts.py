"""Addresses of private hosts: by IP address, by name and by redirect, with local servers."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rayreel.failures import Reason, Rejected
from rayreel.media.config import Limits
from rayreel.media.fetch import local_copy, refuse_foreign
from rayreel.remote.copy import SCHEMES
from rayreel.remote.hosts import HostNotAllowed, check_host, is_public
from rayreel.settings import load_settings

HTTP = (*SCHEMES, "http")


class Server(ThreadingHTTPServer):
    """Responds with `inside`, redirects /to/<address> to the address, and records all requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.requests: list[str] = []


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        redirect = self.path.startswith("/to/")
        self.send_response(302 if redirect else 200)
        if redirect:
            self.send_header("Location", self.path.removeprefix("/to/"))
        self.send_header("Content-Length", "0" if redirect else "6")
        self.end_headers()
        self.wfile.write(b"" if redirect else b"inside")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server
        server.shutdown()


def fetch(uri: str, *hosts: str) -> bytes | Rejected:
    with local_copy(uri, Limits(allowed_hosts=hosts or ("*",)), schemes=HTTP) as path:
        return path if isinstance(path, Rejected) else path.read_bytes()


def refused(outcome: bytes | Rejected) -> bool:
    return isinstance(outcome, Rejected) and outcome.reason is Reason.PATH_NOT_ALLOWED


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "[::ffff:127.0.0.1]"])
def test_localhost_is_not_contacted_by_any_of_its_names(server: Server, host: str) -> None:
    assert refused(fetch(f"http://{host}:{server.server_port}/film.mp4"))
    assert not server.requests


def test_a_host_listed_by_name_may_have_a_private_address(server: Server) -> None:
    for host in ("127.0.0.1", "localhost"):
        assert fetch(f"http://{host}:{server.server_port}/film.mp4", host) == b"inside"
    assert refused(fetch(f"http://localhost:{server.server_port}/film.mp4", "127.0.0.1"))


@pytest.mark.parametrize("target", ["http://localhost:{port}/film.mp4", "//localhost:{port}/x", "http://10.0.0.1/x"])
def test_a_redirect_to_a_forbidden_host_is_not_followed(server: Server, target: str) -> None:
    url = f"http://127.0.0.1:{server.server_port}/to/{target.format(port=server.server_port)}"
    assert refused(fetch(url, "127.0.0.1"))
    assert refused(fetch(url, "127.0.0.1", "*"))
    assert all(path.startswith("/to/") for path in server.requests)


def test_a_redirect_to_an_allowed_host_is_followed(server: Server) -> None:
    url = f"http://127.0.0.1:{server.server_port}/to/http://localhost:{server.server_port}/film.mp4"
    assert fetch(url, "127.0.0.1", "localhost") == b"inside"
    assert fetch(f"http://127.0.0.1:{server.server_port}/to//film.mp4", "127.0.0.1") == b"inside"


def test_only_listed_hosts_and_buckets_are_contacted() -> None:
    for uri in ("https://other.example/film.mp4", "s3://bucket/film.mp4", "gs://bucket/film.mp4"):
        assert refused(fetch(uri, "videos.example", "my-bucket"))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:a00:1::",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::a00:1",
        "2002:808:808::",
        "2001:0:808:808::1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "fec0::1",
        "100::1",
        "4000::1",
        "192.88.99.1",
    ],
)
def test_a_special_purpose_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_any_other_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("host", "allowed", "matches"),
    [
        ("a.example", ("*",), True),
        ("8.8.8.8", ("*",), True),
        ("10.0.0.1", ("*",), False),
        ("10.0.0.1", ("*", "10.0.0.1"), True),
        ("a.example", ("a.example",), True),
        ("A.Example.", ("a.example",), True),
        ("b.a.example", ("a.example",), False),
        ("b.a.example", ("*.a.example",), True),
        ("a.example", ("*.a.example",), False),
        ("evila.example", ("*.a.example",), False),
        ("a.example.evil", ("a.example",), False),
        ("", ("*",), False),
        ("localhost", ("*",), False),
        ("a.localhost", ("*",), False),
        ("metadata.google.internal", ("*",), False),
        ("printer.local", ("*",), False),
        ("intranet", ("*",), False),
        ("intranet", ("*", "intranet"), True),
        ("::1", ("*", "[::1]"), True),
        ("a.example", (), False),
    ],
)
def test_an_entry_of_allowed_hosts_matches_only_its_hosts(host: str, allowed: tuple[str, ...], matches: bool) -> None:
    if matches:
        check_host(host, allowed)
    else:
        with pytest.raises(HostNotAllowed, match=r"limits\.allowed_hosts"):
            check_host(host, allowed)


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "/etc/\0passwd",
        "file:///etc/passwd",
        "file://elsewhere/c.csv",
        "http://a.example/c.csv",
        "https://localhost/c.csv",
        "https://10.0.0.1/c.csv",
        "https://[bad/c.csv",
        "https:///c.csv",
        "zip://c.csv::file:///etc/x.zip",
        "s3://bucket/x::file:///etc/passwd",
        "memory://c.csv",
    ],
)
def test_api_clients_cannot_read_local_files_or_hosts_in_the_local_network(uri: str) -> None:
    outcome = refuse_foreign(uri, Limits())
    assert outcome is not None and outcome.reason is Reason.PATH_NOT_ALLOWED


def test_an_allowed_catalog_is_not_rejected(tmp_path: Path) -> None:
    limits = Limits(allowed_roots=(tmp_path,), allowed_hosts=("bucket", "localhost"))
    for uri in (str(tmp_path / "c.csv"), "s3://bucket/c.csv", "https://localhost/c.csv"):
        assert refuse_foreign(uri, limits) is None
    assert refuse_foreign("s3://other/c.csv", limits) is not None


STATE = "s3://bucket/some/state?endpoint_override=127.0.0.1:9000"


@pytest.mark.parametrize("uri", ["s3://other/c.csv", "gs://other/c.csv", "S3://other/c.csv", "s3://Bucket/c.csv"])
def test_api_clients_can_only_read_buckets_listed_by_name(uri: str) -> None:
    for hosts in (("*",), ("*", "bucket"), ("*.example", "bucket")):
        outcome = refuse_foreign(uri, Limits(allowed_hosts=hosts))
        assert outcome is not None and outcome.reason is Reason.PATH_NOT_ALLOWED
        assert "limits.allowed_hosts" in outcome.detail


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/some/state",
        "s3://bucket/some/state/",
        "s3://bucket/some/state/access/keys.json",
        "S3://bucket/some/state/x",
        "gs://bucket/some/state/x",
        "s3://bucket//some//state/x",
        "s3://bucket/./some/state/x",
        "s3://bucket/videos/../some/state/x",
        "s3://bucket/some/STATE/x",
        "s3://bucket/some/%73tate/x",
        "s3://bucket/some/%2573tate/x",
        "s3://bucket/some%2fstate/x",
        "s3://bucket/some\\state/x",
        "s3a://bucket/some/state/x",
        "s3n://bucket/videos/x",
        "s3://bucket?x/some/state",
    ],
)
def test_api_clients_cannot_read_the_service_state_in_any_spelling(uri: str) -> None:
    limits = Limits(allowed_hosts=("bucket",), state=STATE)
    outcome = refuse_foreign(uri, limits)
    assert outcome is not None and outcome.reason is Reason.PATH_NOT_ALLOWED
    with local_copy(uri, limits.model_copy(update={"from_outside": True})) as copied:
        assert isinstance(copied, Rejected) and copied.reason is Reason.PATH_NOT_ALLOWED


def test_the_rest_of_the_bucket_with_the_state_can_be_read() -> None:
    limits = Limits(allowed_hosts=("bucket",), state=STATE)
    for uri in ("s3://bucket/some/stately/x", "s3://bucket/videos/some/state/x", "s3://bucket/x"):
        assert refuse_foreign(uri, limits) is None
    assert refuse_foreign("s3://bucket/x", limits.model_copy(update={"state": "s3://bucket"})) is not None


def test_settings_contain_the_location_of_the_state() -> None:
    assert load_settings(storage="s3://bucket/state").limits.state == "s3://bucket/state"
    assert load_settings(storage="/data").limits.state == "/data"
    assert load_settings(sets=["limits.max_streams=5"], storage="/data").limits.state == "/data"


@pytest.mark.parametrize("uri", ["/etc/passwd", "/absent", "file:///etc/passwd", "file:///absent", "/etc/\0", "../x"])
def test_api_clients_get_the_same_error_for_every_local_path(uri: str) -> None:
    assert refuse_foreign(uri, Limits()) == refuse_foreign("/", Limits())
