"""Redirects, names and responses of misbehaving servers, with real local servers and with and without TLS."""

import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from http_servers import SECRET, Handler, Server
from rayreel.failures import Reason, Rejected
from rayreel.remote.bounds import Bounds
from rayreel.remote.config import ReadLimits
from rayreel.remote.copy import SCHEMES, copy

HOSTS = ("127.0.0.1", "films.example", "inside.example")
Fetch = Callable[..., bytes | Rejected]


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    def fetched(
        uri: str, hosts: tuple[str, ...] = HOSTS, most: int = 10_000_000, seconds: float = 60
    ) -> bytes | Rejected:
        path = tmp_path / "copy"
        schemes = (*SCHEMES, "http") if uri.startswith("http://") else SCHEMES
        bounds, limits = Bounds(most, "limits.max_bytes"), ReadLimits(allowed_hosts=hosts, download_timeout_s=seconds)
        return copy(uri, path, limits, bounds, schemes=schemes) or path.read_bytes()

    return fetched


def refused(outcome: bytes | Rejected) -> bool:
    return isinstance(outcome, Rejected) and outcome.reason is Reason.PATH_NOT_ALLOWED


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Replaces the DNS for some names: each query returns the next of a name's addresses."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: int, **options: int) -> object:
        if host in known:
            host = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
        return real(host, port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


def test_a_file_is_read_from_a_trusted_https_server(secure: Server, fetch: Fetch) -> None:
    secure.content("/film.mp4?x=1", b"film")
    assert fetch(secure.url("/film.mp4?x=1#top")) == b"film"
    assert secure.headers[0]["host"] == f"127.0.0.1:{secure.server_port}"


def test_an_untrusted_certificate_is_rejected(secure: Server, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    from rayreel.remote import http

    monkeypatch.delenv("SSL_CERT_FILE")
    http.ssl_context.cache_clear()
    outcome = fetch(secure.url("/film.mp4"), seconds=1)
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.UNREACHABLE
    assert not secure.asked


@pytest.mark.parametrize("name", ["Location", "location", "LOCATION"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_from_https_to_http_is_not_followed(
    secure: Server, plain: Server, fetch: Fetch, name: str, status: int
) -> None:
    secure.redirect("/film.mp4", (name, plain.url("/inside")), status=status)
    assert refused(fetch(secure.url("/film.mp4")))
    assert not plain.asked


@pytest.mark.parametrize("header", ["URI", "Uri", "Refresh", "Content-Location", "Link", "X-Accel-Redirect"])
@pytest.mark.parametrize("status", [200, 302])
def test_no_header_other_than_location_redirects(
    secure: Server, plain: Server, fetch: Fetch, header: str, status: int
) -> None:
    value = f"0; url={plain.url('/inside')}" if header == "Refresh" else plain.url("/inside")
    secure.redirect("/film.mp4", (header, value), status=status)
    outcome = fetch(secure.url("/film.mp4"))
    assert outcome == b"" if status == 200 else refused(outcome)
    assert not plain.asked


@pytest.mark.parametrize(
    "target",
    [
        "//localhost:{port}/inside",
        "http://localhost:{port}/inside",
        "http://127.1:{port}/inside",
        "http://2130706433:{port}/inside",
        "http://[::1]:{port}/inside",
        "http://[::ffff:127.0.0.1]:{port}/inside",
        "http://0.0.0.0:{port}/inside",
        "http://films.example\\@localhost:{port}/inside",
        "http://films.example@localhost:{port}/inside",
        "http://user:secret@127.0.0.1:{port}/inside",
        "\\\\localhost:{port}/inside",
        "/\\localhost:{port}/inside",
        "http://localhost\t:{port}/inside",
        "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/inside",
        "s3://films.example/inside",
        "gopher://127.0.0.1:{port}/inside",
        "",
    ],
)
def test_a_redirect_to_a_forbidden_address_is_not_followed(plain: Server, fetch: Fetch, target: str) -> None:
    plain.redirect("/film.mp4", ("Location", target.format(port=plain.server_port)))
    assert refused(fetch(plain.url("/film.mp4")))
    assert refused(fetch(plain.url("/film.mp4"), (*HOSTS, "*")))
    assert plain.asked == ["/film.mp4", "/film.mp4"]


def test_a_response_with_two_locations_is_rejected(plain: Server, fetch: Fetch) -> None:
    plain.redirect("/film.mp4", ("Location", "/one"), ("Location", "/two"))
    assert isinstance(fetch(plain.url("/film.mp4"), seconds=1), Rejected)
    assert set(plain.asked) == {"/film.mp4"}


@pytest.mark.parametrize("target", ["/other.mp4", "other.mp4", "//127.0.0.1:{port}/other.mp4", "{url}"])
def test_a_redirect_to_an_allowed_address_is_followed(plain: Server, fetch: Fetch, target: str) -> None:
    plain.content("/other.mp4", b"film")
    location = target.format(port=plain.server_port, url=plain.url("/other.mp4"))
    plain.redirect("/film.mp4", ("Location", location))
    assert fetch(plain.url("/film.mp4")) == b"film"


def test_the_number_of_redirects_is_limited(plain: Server, fetch: Fetch) -> None:
    plain.redirect("/film.mp4", ("Location", "/film.mp4"))
    assert refused(fetch(plain.url("/film.mp4")))
    assert len(plain.asked) == 6


def test_credentials_are_sent_only_to_the_origin_of_their_url(plain: Server, secure: Server, fetch: Fetch) -> None:
    plain.redirect("/film.mp4", ("Location", "/near.mp4"))
    plain.redirect("/near.mp4", ("Location", secure.url("/far.mp4")))
    fetch(plain.url("/film.mp4", user="user:p%40ss@"))
    assert [headers.get("authorization") for headers in plain.headers] == ["Basic dXNlcjpwQHNz"] * 2
    assert [headers.get("authorization") for headers in secure.headers] == [None]


def test_a_checked_name_is_not_resolved_again(plain: Server, fetch: Fetch, names: dict[str, list[str]]) -> None:
    names["rebound.example"] = ["8.8.8.8", "127.0.0.1"]  # public in the first query, private in the second
    outcome = fetch(plain.url("/film.mp4", "rebound.example"), ("*",), seconds=1)
    assert isinstance(outcome, Rejected)
    assert not plain.asked


def test_a_name_with_a_private_address_gets_the_same_error_as_an_unknown_name(
    plain: Server, fetch: Fetch, names: dict[str, list[str]]
) -> None:
    names["inside.test"] = ["127.0.0.1"]
    outcome = fetch(plain.url("/film.mp4", "inside.test"), ("*",))
    assert isinstance(outcome, Rejected) and refused(outcome) and "has no public address" in outcome.detail
    assert not plain.asked


def test_the_host_name_is_used_for_the_host_header_and_the_certificate(
    secure: Server, fetch: Fetch, names: dict[str, list[str]]
) -> None:
    names["films.example"] = ["127.0.0.1"]
    secure.content("/film.mp4", b"film")
    assert fetch(secure.url("/film.mp4", "films.example")) == b"film"
    assert secure.headers[0]["host"] == f"films.example:{secure.server_port}"
    names["films.test"] = ["127.0.0.1"]
    assert isinstance(fetch(secure.url("/film.mp4", "films.test"), ("films.test",), seconds=1), Rejected)


def test_a_compressed_response_is_decompressed_and_a_zip_bomb_is_rejected(plain: Server, fetch: Fetch) -> None:
    plain.content("/film.mp4", gzip.compress(b"film"), ("Content-Encoding", "gzip"))
    plain.content("/bomb.mp4", gzip.compress(bytes(64 << 20), 1), ("Content-Encoding", "gzip"))
    plain.content("/cut.mp4", gzip.compress(SECRET)[:-4], ("Content-Encoding", "gzip"))
    plain.content("/odd.mp4", b"film", ("Content-Encoding", "br"))
    assert fetch(plain.url("/film.mp4")) == b"film"
    tracemalloc.start()
    outcome = fetch(plain.url("/bomb.mp4"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.TOO_LARGE
    assert peak < 16 << 20
    for path in ("/cut.mp4", "/odd.mp4"):
        assert isinstance(fetch(plain.url(path), seconds=1), Rejected)


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_slow_trickle_of_data_ends_at_the_deadline(plain: Server, fetch: Fetch, part: str) -> None:
    disconnected = threading.Event()

    def trickle(handler: Handler) -> None:
        if part == "body":
            handler.send_response(200)
            handler.end_headers()
        try:
            for _ in range(600):
                handler.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            disconnected.set()

    plain.answers["/film.mp4"] = trickle
    start = time.monotonic()
    outcome = fetch(plain.url("/film.mp4"), seconds=0.5)
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.UNREACHABLE
    assert time.monotonic() - start < 15
    assert disconnected.wait(10)


def test_an_error_contains_neither_the_response_nor_secrets_of_the_url(plain: Server, fetch: Fetch) -> None:
    plain.answers["/film.mp4?X-Amz-Signature=hunter2"] = lambda handler: handler.send(403, b"hunter2")
    outcome = fetch(plain.url("/film.mp4?X-Amz-Signature=hunter2", user="user:hunter2@"))
    assert isinstance(outcome, Rejected) and "hunter2" not in outcome.detail and "HTTP 403" in outcome.detail


def test_the_proxy_from_the_environment_is_used(plain: Server, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", plain.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    plain.content("http://films.test:80/film.mp4", b"film")
    plain.content("http://films.test/film.mp4", b"film")
    assert fetch("http://films.test/film.mp4", ("films.test",)) == b"film"
    assert refused(fetch("http://169.254.169.254/film.mp4", ("*",)))
