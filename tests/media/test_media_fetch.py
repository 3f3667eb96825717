"""Remote videos from real, unreliable servers, and forbidden local paths."""

import socket
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ports import free_port
from rayreel.failures import Reason, Rejected
from rayreel.media.config import Limits
from rayreel.media.fetch import local_copy
from rayreel.remote.copy import SCHEMES

BODY = bytes(range(256)) * 4000
NEAR = ("*", "127.0.0.1")  # the servers of these tests are not public
LIMITS = Limits(max_bytes=2_000_000, allowed_hosts=NEAR)


class Server(ThreadingHTTPServer):
    """Responds as the first part of the path says, and counts the requests of each path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.requests: Counter[str] = Counter()

    def url(self, path: str, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.server_port}/{path}"


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        word = self.path.split("?")[0].strip("/").split(".")[0]
        self.server.requests[word] += 1
        getattr(self, f"answer_{word}")(self.server.requests[word])

    def answer_film(self, _times: int) -> None:
        self.start(200, len(BODY))
        self.wfile.write(BODY)

    def answer_flaky(self, times: int) -> None:
        if times > 2:
            return self.answer_film(times)
        return self.start(503, 0)

    def answer_dropped(self, times: int) -> None:
        if times > 2:
            self.answer_film(times)
            return
        if times == 2:
            self.start(200, len(BODY))
            self.wfile.write(BODY[:1000])
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer_broken(self, _times: int) -> None:
        self.start(500, 0)

    def answer_gone(self, _times: int) -> None:
        self.start(404, 0)

    def answer_secret(self, _times: int) -> None:
        self.start(403, 0)

    def answer_busy(self, times: int) -> None:
        return self.answer_film(times) if times > 1 else self.start(429, 0)

    def answer_endless(self, _times: int) -> None:
        self.start(200, None)
        while True:
            self.wfile.write(BODY)

    def answer_huge(self, _times: int) -> None:
        self.start(200, 10**12)

    def answer_moved(self, _times: int) -> None:
        self.start(302, 0, "/film.mp4")

    def answer_inward(self, _times: int) -> None:
        self.start(302, 0, f"http://localhost:{self.server.server_port}/film.mp4")

    def answer_far(self, _times: int) -> None:
        self.start(302, 0, self.server.url("film.mp4"))

    def start(self, status: int, length: int | None, location: str | None = None) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=[0.05], daemon=True).start()
        yield running
        running.shutdown()


def fetch(uri: str, limits: Limits = LIMITS) -> bytes | Rejected:
    with local_copy(uri, limits, schemes=(*SCHEMES, "http")) as path:
        return path if isinstance(path, Rejected) else path.read_bytes()


@pytest.mark.parametrize(("word", "requests"), [("film", 1), ("flaky", 3), ("dropped", 3), ("busy", 2), ("moved", 1)])
def test_a_remote_video_is_downloaded_completely_after_retries(server: Server, word: str, requests: int) -> None:
    assert fetch(server.url(f"{word}.mp4")) == BODY
    assert server.requests[word] == requests


@pytest.mark.parametrize(
    ("word", "reason", "requests"),
    [("gone", Reason.MISSING_FILE, 1), ("secret", Reason.UNREACHABLE, 1), ("broken", Reason.UNREACHABLE, 4)],
)
def test_only_temporary_errors_are_retried(server: Server, word: str, reason: Reason, requests: int) -> None:
    outcome = fetch(server.url(f"{word}.mp4"))
    assert isinstance(outcome, Rejected) and outcome.reason is reason
    assert server.requests[word] == requests


@pytest.mark.parametrize("word", ["endless", "huge"])
def test_a_copy_stops_at_the_limit_regardless_of_the_declared_length(server: Server, word: str) -> None:
    outcome = fetch(server.url(word))
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.TOO_LARGE
    assert server.requests[word] == 1


def test_a_video_of_exactly_the_limit_is_accepted(server: Server) -> None:
    assert fetch(server.url("film.mp4"), Limits(max_bytes=len(BODY), allowed_hosts=NEAR)) == BODY
    outcome = fetch(server.url("film.mp4"), Limits(max_bytes=len(BODY) - 1, allowed_hosts=NEAR))
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.TOO_LARGE


def test_a_large_copy_takes_little_memory(server: Server) -> None:
    fetch(server.url("film.mp4"))
    tracemalloc.start()
    fetch(server.url("endless"), Limits(max_bytes=100 << 20, allowed_hosts=NEAR))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("word", ["secret", "broken", "gone", "huge"])
def test_details_contain_no_credentials_and_no_query_string(server: Server, word: str) -> None:
    outcome = fetch(server.url(f"{word}.mp4?signature=hidden1#hidden2", user="name:hidden3@"))
    assert isinstance(outcome, Rejected)
    assert "hidden" not in outcome.detail and "name" not in outcome.detail
    assert f"127.0.0.1:{server.server_port}/{word}.mp4" in outcome.detail


def test_a_server_that_does_not_run_is_unreachable() -> None:
    port = free_port()
    outcome = fetch(f"http://127.0.0.1:{port}/film.mp4?signature=hidden")
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.UNREACHABLE
    assert "Connect" in outcome.detail and "hidden" not in outcome.detail


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/film.mp4",
        "ftp://host/film.mp4",
        "ssh://host/film.mp4",
        "data://film.mp4",
        "HTTP://127.0.0.1/film.mp4",
        "concat://a|b",
        "rtsp://camera/live",
        "file://elsewhere/film.mp4",
    ],
)
def test_an_address_with_another_scheme_is_refused_without_a_request(uri: str) -> None:
    with local_copy(uri, LIMITS) as outcome:
        assert isinstance(outcome, Rejected) and outcome.reason is Reason.PATH_NOT_ALLOWED


@pytest.mark.parametrize("chain", ["simplecache::file://{}", "memory://a::file://{}", "https://[::1]:1/::file://{}"])
def test_a_chained_address_never_reaches_a_local_file(tmp_path: Path, chain: str) -> None:
    (secret := tmp_path / "secret").write_text("hidden")
    with local_copy(chain.format(secret), LIMITS) as outcome:
        assert isinstance(outcome, Rejected)


@pytest.mark.parametrize("uri", ["https://[bad/film.mp4", "https:///film.mp4", "s3://", "gs://", "https://h ost/a"])
def test_an_invalid_address_is_rejected_without_an_exception(uri: str) -> None:
    with local_copy(uri, LIMITS) as outcome:
        assert isinstance(outcome, Rejected)


def test_the_copy_is_deleted_at_the_end_of_the_block(server: Server) -> None:
    with local_copy(server.url("film.mp4"), LIMITS, schemes=["http"]) as path:
        assert isinstance(path, Path) and path.suffix == ".mp4"
    assert not path.exists()


def test_a_file_url_is_read_as_its_path(tmp_path: Path) -> None:
    (path := tmp_path / "a b#1?.mp4").write_bytes(b"x")
    with local_copy("file://" + str(path).replace(" ", "%20"), LIMITS) as local:
        assert local == path


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """An allowed folder and a file outside of it."""
    (inside := tmp_path / "videos").mkdir()
    (outside := tmp_path / "secret.mp4").write_bytes(b"hidden")
    return inside, outside


def test_a_link_out_of_the_allowed_folders_is_not_followed(roots: tuple[Path, Path]) -> None:
    inside, outside = roots
    (link := inside / "film.mp4").symlink_to(outside)
    for uri in (link, outside, inside / ".." / "secret.mp4", f"file://{outside}", inside.parent / "videos-too.mp4"):
        with local_copy(str(uri), LIMITS, [inside]) as outcome:
            assert isinstance(outcome, Rejected) and outcome.reason is Reason.PATH_NOT_ALLOWED, uri
            assert "secret" not in outcome.detail or "secret" in str(uri)


def test_a_link_within_the_allowed_folders_is_followed(roots: tuple[Path, Path]) -> None:
    inside, _ = roots
    (real := inside / "real.mp4").write_bytes(b"x")
    (link := inside / "film.mp4").symlink_to(real)
    with local_copy(str(link), LIMITS, [inside]) as path:
        assert path == real


def test_an_allowed_folder_may_be_a_link(roots: tuple[Path, Path]) -> None:
    inside, _ = roots
    (inside / "real.mp4").write_bytes(b"x")
    (alias := inside.parent / "alias").symlink_to(inside)
    with local_copy(str(alias / "real.mp4"), LIMITS, [alias]) as path:
        assert isinstance(path, Path)


@pytest.mark.parametrize("uri", ["/" + "x" * 5000, "/a\0b.mp4", "/\udcff/\0"])
def test_an_impossible_path_is_rejected_without_an_exception(uri: str) -> None:
    with local_copy(uri, LIMITS) as outcome:
        assert isinstance(outcome, Rejected) and outcome.reason is Reason.UNREADABLE


def test_a_link_to_itself_is_rejected(tmp_path: Path) -> None:
    (link := tmp_path / "film.mp4").symlink_to(link)
    with local_copy(str(link), LIMITS) as outcome:
        assert isinstance(outcome, Rejected)


@pytest.fixture(scope="module")
def bucket(s3: str) -> Iterator[str]:
    """A bucket with film.mp4 on a local S3 server."""
    s3fs = pytest.importorskip("s3fs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{s3}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            patch.setenv(name, "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        files = s3fs.S3FileSystem()
        files.mkdir("videos")
        files.pipe_file("videos/film.mp4", BODY)
        yield "s3://videos"
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_video_in_s3_is_copied_completely(bucket: str) -> None:
    assert fetch(f"{bucket}/film.mp4") == BODY


def test_an_object_over_the_limit_is_not_copied(bucket: str) -> None:
    outcome = fetch(f"{bucket}/film.mp4", Limits(max_bytes=1000))
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.TOO_LARGE
    assert f"{len(BODY):,}" in outcome.detail


@pytest.mark.parametrize("key", ["/gone.mp4", "-elsewhere/film.mp4"])
def test_a_missing_object_or_bucket_is_a_missing_file(bucket: str, key: str) -> None:
    began = time.monotonic()
    outcome = fetch(f"{bucket}{key}")
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.MISSING_FILE
    assert time.monotonic() - began < 5
