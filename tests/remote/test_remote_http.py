"""Redirects, names and answers that lead elsewhere, from real servers of this machine, with and without TLS."""

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

NEAR = ("127.0.0.1", "films.example", "inside.example")
Fetch = Callable[..., bytes | Rejected]


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    def fetched(
        uri: str, hosts: tuple[str, ...] = NEAR, most: int = 10_000_000, seconds: float = 60
    ) -> bytes | Rejected:
        path = tmp_path / "copy"
        schemes = (*SCHEMES, "http") if uri.startswith("http://") else SCHEMES
        bounds = Bounds(most, "limits.max_bytes")
        return (
            copy(uri, path, ReadLimits(allowed_hosts=hosts), bounds, schemes=schemes, seconds=seconds)
            or path.read_bytes()
        )

    return fetched


def refused(outcome: bytes | Rejected) -> bool:
    return isinstance(outcome, Rejected) and outcome.reason is Reason.PATH_NOT_ALLOWED


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A name server: the addresses of each name, one after the other with every question."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: int, **options: int) -> object:
        if host in known:
            host = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
        return real(host, port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


def test_https_gives_the_file_of_a_server_that_is_trusted(secure: Server, fetch: Fetch) -> None:
    secure.content("/film.mp4?x=1", b"film")
    assert fetch(secure.url("/film.mp4?x=1#top")) == b"film"
    assert secure.headers[0]["host"] == f"127.0.0.1:{secure.server_port}"


def test_a_certificate_that_is_not_trusted_is_refused(
    secure: Server, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rayreel.remote import http

    monkeypatch.delenv("SSL_CERT_FILE")
    http.trusted.cache_clear()
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
def test_no_other_header_than_location_is_a_redirect(
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
def test_a_redirect_leads_to_no_place_that_could_not_be_asked_itself(plain: Server, fetch: Fetch, target: str) -> None:
    plain.redirect("/film.mp4", ("Location", target.format(port=plain.server_port)))
    assert refused(fetch(plain.url("/film.mp4")))
    assert refused(fetch(plain.url("/film.mp4"), (*NEAR, "*")))
    assert plain.asked == ["/film.mp4", "/film.mp4"]


def test_two_locations_are_none(plain: Server, fetch: Fetch) -> None:
    plain.redirect("/film.mp4", ("Location", "/one"), ("Location", "/two"))
    assert isinstance(fetch(plain.url("/film.mp4"), seconds=1), Rejected)
    assert set(plain.asked) == {"/film.mp4"}


@pytest.mark.parametrize("target", ["/other.mp4", "other.mp4", "//127.0.0.1:{port}/other.mp4", "{url}"])
def test_a_redirect_to_where_one_may_ask_is_followed(plain: Server, fetch: Fetch, target: str) -> None:
    plain.content("/other.mp4", b"film")
    location = target.format(port=plain.server_port, url=plain.url("/other.mp4"))
    plain.redirect("/film.mp4", ("Location", location))
    assert fetch(plain.url("/film.mp4")) == b"film"


def test_redirects_end(plain: Server, fetch: Fetch) -> None:
    plain.redirect("/film.mp4", ("Location", "/film.mp4"))
    assert refused(fetch(plain.url("/film.mp4")))
    assert len(plain.asked) == 6


def test_credentials_go_to_the_place_they_were_written_for_and_no_further(
    plain: Server, secure: Server, fetch: Fetch
) -> None:
    plain.redirect("/film.mp4", ("Location", "/near.mp4"))
    plain.redirect("/near.mp4", ("Location", secure.url("/far.mp4")))
    fetch(plain.url("/film.mp4", user="user:p%40ss@"))
    assert [headers.get("authorization") for headers in plain.headers] == ["Basic dXNlcjpwQHNz"] * 2
    assert [headers.get("authorization") for headers in secure.headers] == [None]


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    plain: Server, fetch: Fetch, names: dict[str, list[str]]
) -> None:
    names["rebound.example"] = ["8.8.8.8", "127.0.0.1"]  # public when checked, inside when asked again
    outcome = fetch(plain.url("/film.mp4", "rebound.example"), ("*",), seconds=1)
    assert isinstance(outcome, Rejected)
    assert not plain.asked


def test_a_name_that_leads_inwards_is_refused_in_the_words_for_one_that_leads_nowhere(
    plain: Server, fetch: Fetch, names: dict[str, list[str]]
) -> None:
    names["inside.test"] = ["127.0.0.1"]
    outcome = fetch(plain.url("/film.mp4", "inside.test"), ("*",))
    assert refused(outcome) and "has no public address" in outcome.detail
    assert not plain.asked


def test_the_name_that_is_asked_for_reaches_the_server_and_its_certificate(
    secure: Server, fetch: Fetch, names: dict[str, list[str]]
) -> None:
    names["films.example"] = ["127.0.0.1"]
    secure.content("/film.mp4", b"film")
    assert fetch(secure.url("/film.mp4", "films.example")) == b"film"
    assert secure.headers[0]["host"] == f"films.example:{secure.server_port}"
    names["films.test"] = ["127.0.0.1"]
    assert isinstance(fetch(secure.url("/film.mp4", "films.test"), ("films.test",), seconds=1), Rejected)


def test_a_compressed_answer_is_the_file_and_a_bomb_is_counted(plain: Server, fetch: Fetch) -> None:
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


@pytest.mark.parametrize("where", ["head", "body"])
def test_a_server_that_drips_is_left_at_the_deadline(plain: Server, fetch: Fetch, where: str) -> None:
    left = threading.Event()

    def drip(handler: Handler) -> None:
        if where == "body":
            handler.send_response(200)
            handler.end_headers()
        try:
            for _ in range(600):
                handler.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            left.set()

    plain.answers["/film.mp4"] = drip
    began = time.monotonic()
    outcome = fetch(plain.url("/film.mp4"), seconds=0.5)
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.UNREACHABLE
    assert time.monotonic() - began < 15
    assert left.wait(10)


def test_a_failure_repeats_neither_the_answer_nor_the_secrets_of_the_address(plain: Server, fetch: Fetch) -> None:
    plain.answers["/film.mp4?X-Amz-Signature=hunter2"] = lambda handler: handler.send(403, b"hunter2")
    outcome = fetch(plain.url("/film.mp4?X-Amz-Signature=hunter2", user="user:hunter2@"))
    assert isinstance(outcome, Rejected) and "hunter2" not in outcome.detail and "HTTP 403" in outcome.detail


def test_a_proxy_of_this_machine_s_settings_is_used(
    plain: Server, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", plain.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    plain.content("http://films.test:80/film.mp4", b"film")
    plain.content("http://films.test/film.mp4", b"film")
    assert fetch("http://films.test/film.mp4", ("films.test",)) == b"film"
    assert refused(fetch("http://169.254.169.254/film.mp4", ("*",)))
