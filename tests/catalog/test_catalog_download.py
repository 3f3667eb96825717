"""Downloads from a real server that fails, ignores range requests, changes its files or serves the wrong ones."""

import hashlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

import http_servers
from http_servers import running, running_tls
from ports import free_port
from rayreel.catalog.download import (
    DownloadFailed,
    Downloads,
    NotThere,
    RemoteFile,
    WrongFile,
    _is_retryable,
)
from rayreel.catalog.resume import Part, PartTaken

BODY = bytes(range(256)) * 2000
OTHER = bytes(reversed(BODY))
BREAK = 100_000


class Server(ThreadingHTTPServer):
    """Selects the response by the first word of the path and records the requested ranges."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.ranges: list[str | None] = []
        self.conditions: list[str | None] = []
        self.sent = 0
        self.body, self.tag, self.healthy = BODY, '"one"', False

    def file(self, name: str, sha256: str = "", size: int | None = None, user: str = "") -> RemoteFile:
        url = f"http://{user}127.0.0.1:{self.server_port}/{name}"
        return RemoteFile(url, sha256, size, "https://about.example/set")


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        self.server.conditions.append(self.headers["If-Range"])
        getattr(self, "answer_" + self.path.strip("/").split(".")[0].split("?")[0])()

    def answer_whole(self) -> None:
        self.send()

    def answer_flaky(self) -> None:
        if len(self.server.ranges) > 2:
            return self.send()
        return self.start(503)

    def answer_breaking(self) -> None:
        """Closes the connection in the middle of each response until `healthy` is set."""
        self.send(most=None if self.server.healthy else BREAK)

    def answer_untagged(self) -> None:
        self.server.tag = ""
        self.answer_breaking()

    def answer_rangeless(self) -> None:
        del self.headers["Range"]
        self.answer_breaking()

    def answer_confused(self) -> None:
        """Sends a different range than the requested one."""
        if self.headers["Range"]:
            return self.start(206, {"Content-Range": f"bytes 7-{len(BODY) - 1}/{len(BODY)}"})
        return self.send(most=BREAK if len(self.server.ranges) == 1 else None)

    def answer_page(self) -> None:
        self.start(200, {"Content-Type": "text/html; charset=utf-8", "Content-Length": "6"}, b"<html>")

    def answer_gone(self) -> None:
        self.start(404)

    def answer_secret(self) -> None:
        self.start(403)

    def answer_broken(self) -> None:
        self.start(500)

    def send(self, most: int | None = None) -> None:
        body, requested = self.server.body, self.headers["Range"]
        if requested and self.headers["If-Range"] not in {None, self.server.tag}:
            requested = None
        wanted = re.fullmatch(r"bytes=(\d+)-", requested or "")
        assert wanted or not requested, requested
        start = int(wanted[1]) if wanted else 0
        if requested and start >= len(body):
            return self.start(416, {"Content-Range": f"bytes */{len(body)}"})
        headers = {"ETag": self.server.tag} if self.server.tag else {}
        headers |= {"Content-Length": str(len(body) - start)}
        headers |= {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if requested else {}
        return self.start(206 if requested else 200, headers, body[start:][:most])

    def start(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {"Content-Length": "0"}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.server.sent += len(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def downloads(tmp_path: Path) -> Iterator[Downloads]:
    with Downloads(tmp_path / "set", pause_s=0.001) as downloads:
        yield downloads


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_downloaded_completely_and_its_progress_reported(server: Server, downloads: Downloads) -> None:
    progress: list[tuple[int, int | None]] = []
    path = downloads.fetch(server.file("whole.bin"), lambda received, total: progress.append((received, total)))
    assert path.read_bytes() == BODY
    assert progress[-1] == (len(BODY), len(BODY)) and sorted(progress) == progress
    assert names(downloads.folder) == {"whole.bin", "SHA256SUMS"}


def test_transient_errors_are_retried(server: Server, downloads: Downloads) -> None:
    assert downloads.fetch(server.file("flaky.bin")).read_bytes() == BODY
    assert len(server.ranges) == 3


def test_an_interrupted_transfer_is_resumed(server: Server, downloads: Downloads) -> None:
    with pytest.raises(DownloadFailed, match="cannot be fetched"):
        downloads.fetch(server.file("breaking.bin"))
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]
    server.healthy = True
    with Downloads(downloads.folder) as next_run:
        assert next_run.fetch(server.file("breaking.bin")).read_bytes() == BODY
    assert server.ranges[-1] == "bytes=400000-" and server.conditions[-1] == '"one"'
    assert server.sent == len(BODY)


def test_a_long_download_may_be_interrupted_more_often_than_a_short_one_is_retried(
    server: Server, downloads: Downloads
) -> None:
    server.body = bytes(9 << 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "BREAK", 5 << 18)
        assert downloads.fetch(server.file("breaking.bin")).stat().st_size == 9 << 20
    assert len(server.ranges) == 8


def test_a_file_that_changed_in_the_meantime_is_not_resumed(server: Server, downloads: Downloads) -> None:
    with pytest.raises(DownloadFailed):
        downloads.fetch(server.file("breaking.bin"))
    server.body, server.tag, server.healthy = OTHER, '"two"', True
    assert downloads.fetch(server.file("breaking.bin")).read_bytes() == OTHER


def test_a_partial_file_without_a_version_or_checksum_is_not_resumed(server: Server, downloads: Downloads) -> None:
    with pytest.raises(DownloadFailed):
        downloads.fetch(server.file("untagged.bin"))
    assert server.ranges == [None] * 4
    server.body, server.healthy = OTHER, True
    assert downloads.fetch(server.file("untagged.bin")).read_bytes() == OTHER


def test_a_partial_file_with_a_checksum_is_resumed_and_verified_as_a_whole(
    server: Server, downloads: Downloads
) -> None:
    with pytest.raises(DownloadFailed):
        downloads.fetch(server.file("untagged.bin", sha256(OTHER)))
    assert server.ranges[-1] == "bytes=300000-"
    # The partial file is of another version: this is detected at the end, and the file fetched again from zero.
    server.body, server.healthy = OTHER, True
    assert downloads.fetch(server.file("untagged.bin", sha256(OTHER))).read_bytes() == OTHER
    assert server.ranges[-2:] == ["bytes=400000-", None]


def test_a_server_that_ignores_ranges_sends_the_whole_file_again(server: Server, downloads: Downloads) -> None:
    with pytest.raises(DownloadFailed):
        downloads.fetch(server.file("rangeless.bin"))
    assert len(server.ranges) == 4
    server.healthy = True
    assert downloads.fetch(server.file("rangeless.bin")).read_bytes() == BODY


def test_a_range_other_than_the_requested_one_is_not_appended(server: Server, downloads: Downloads) -> None:
    assert downloads.fetch(server.file("confused.bin")).read_bytes() == BODY


def test_a_partial_file_that_is_complete_needs_no_transfer(server: Server, downloads: Downloads) -> None:
    (downloads.folder / "whole.bin.part").write_bytes(BODY)
    assert downloads.fetch(server.file("whole.bin", sha256(BODY), len(BODY))).read_bytes() == BODY
    assert (server.ranges, server.sent) == ([f"bytes={len(BODY)}-"], 0)


def test_content_that_does_not_match_the_published_sha256_is_rejected_and_deleted(
    server: Server, downloads: Downloads
) -> None:
    with pytest.raises(WrongFile, match=rf"sha256 is {sha256(BODY)}, expected {sha256(OTHER)}, the published value"):
        downloads.fetch(server.file("whole.bin", sha256(OTHER)))
    assert names(downloads.folder) == set()
    assert len(server.ranges) == 1


def test_wrong_content_after_a_resumed_download_is_fetched_only_once_more(server: Server, downloads: Downloads) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(WrongFile, match="the published value"):
        patch.setitem(globals(), "BREAK", 200_000)
        downloads.fetch(server.file("breaking.bin", sha256(OTHER)))
    assert server.ranges == [None, "bytes=200000-", "bytes=400000-"] * 2


def test_a_length_other_than_the_published_one_is_rejected_before_the_transfer(
    server: Server, downloads: Downloads
) -> None:
    with pytest.raises(WrongFile, match="512,000 bytes, expected 5"):
        downloads.fetch(server.file("whole.bin", sha256(BODY), 5))
    assert names(downloads.folder) == set()


def test_the_first_download_is_recorded_in_the_format_of_sha256sum(server: Server, downloads: Downloads) -> None:
    downloads.fetch(server.file("whole.bin"))
    assert (downloads.folder / "SHA256SUMS").read_text() == f"{sha256(BODY)}  whole.bin\n"
    if program := shutil.which("sha256sum"):
        subprocess.run([program, "--check", "SHA256SUMS"], cwd=downloads.folder, check=True, capture_output=True)


def test_a_later_change_of_the_local_or_remote_file_raises_an_error(server: Server, downloads: Downloads) -> None:
    path = downloads.fetch(server.file("whole.bin"))
    path.write_bytes(OTHER)
    with (
        Downloads(downloads.folder) as next_run,
        pytest.raises(
            WrongFile,
            match=r"the value in SHA256SUMS from the first download\. Delete the file .*, or delete its line in",
        ),
    ):
        next_run.fetch(server.file("whole.bin"))
    path.unlink()
    server.body = OTHER
    with pytest.raises(WrongFile, match=r"serves an unexpected whole\.bin"):
        downloads.fetch(server.file("whole.bin"))


def test_a_file_downloaded_manually_is_verified_without_a_request(server: Server, downloads: Downloads) -> None:
    (downloads.folder / "whole.bin").write_bytes(BODY)
    downloads.fetch(server.file("whole.bin", sha256(BODY)))
    with pytest.raises(WrongFile, match="Delete the file to download it again"):
        downloads.fetch(server.file("whole.bin", sha256(OTHER)))
    assert server.ranges == []


@pytest.mark.parametrize(
    ("word", "kind", "reason", "requests"),
    [
        ("gone", NotThere, "127.0.0.1 returned HTTP 404 for gone.bin", 1),
        ("page", NotThere, "127.0.0.1 returned a web page instead of page.bin", 1),
        ("secret", DownloadFailed, "127.0.0.1 returned HTTP 403 for secret.bin", 1),
        ("broken", DownloadFailed, "127.0.0.1 returned HTTP 500 for broken.bin", 4),
    ],
)
def test_a_failed_download_raises_an_error_that_explains_how_to_download_manually(
    server: Server, downloads: Downloads, word: str, kind: type[Exception], reason: str, requests: int
) -> None:
    with pytest.raises(kind) as error:
        downloads.fetch(server.file(f"{word}.bin?signature=hidden", user="name:hidden@"))
    message = str(error.value)
    assert reason in message and "hidden" not in message
    assert f"download http://127.0.0.1:{server.server_port}/{word}.bin (see https://about.example/set)" in message
    assert f"save it as {downloads.folder / f'{word}.bin'}" in message
    assert len(server.ranges) == requests
    assert names(downloads.folder) == set()


def test_an_unreachable_host_is_named(downloads: Downloads) -> None:
    port = free_port()
    with pytest.raises(
        DownloadFailed, match=r"a\.csv cannot be fetched from 127\.0\.0\.1 \(.*refused.*save it as .*a\.csv"
    ):
        downloads.fetch(RemoteFile(f"http://127.0.0.1:{port}/a.csv"))


def test_fetch_all_returns_the_missing_files_and_downloads_the_others(server: Server, downloads: Downloads) -> None:
    wanted = [server.file(name) for name in ("whole.1.mp4", "gone.2.mp4", "whole.3.mp4", "page.4.mp4")]
    done: list[None] = []
    absent = downloads.fetch_all(wanted, done=lambda: done.append(None))
    assert {file.name for file in absent} == {"gone.2.mp4", "page.4.mp4"}
    assert len(done) == 4
    assert names(downloads.folder) == {"whole.1.mp4", "whole.3.mp4", "SHA256SUMS"}


def test_fetch_all_stops_at_the_first_other_failure(server: Server, downloads: Downloads) -> None:
    wanted = [server.file(f"secret.{number}.mp4") for number in range(50)]
    with pytest.raises(DownloadFailed, match="HTTP 403"):
        downloads.fetch_all(wanted, at_once=2)
    assert len(server.ranges) < 50


def test_two_processes_never_write_the_same_partial_file(tmp_path: Path) -> None:
    with Part(tmp_path / "a.bin") as part, pytest.raises(PartTaken, match="in use by another process"):
        part.write(b"x")
        Part(tmp_path / "a.bin")


def test_no_redirect_leads_from_https_to_http_not_even_an_intermediate_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    with (
        running_tls(tmp_path) as site,
        running(http_servers.Server()) as other,
        Downloads(tmp_path / "set") as downloads,
    ):
        site.redirect("/a.bin", ("Location", other.url("/b.bin")))
        other.redirect("/b.bin", ("Location", site.url("/c.bin")))
        with pytest.raises(DownloadFailed, match="redirected from https:// to http://127"):
            downloads.fetch(RemoteFile(site.url("/a.bin")))
        assert not other.asked


@pytest.mark.parametrize("host", ["169.254.169.254", "localhost", "2130706433", "metadata.google.internal"])
def test_a_redirect_does_not_lead_into_the_local_network(tmp_path: Path, host: str) -> None:
    with running(http_servers.Server()) as site, Downloads(tmp_path / "set") as downloads:
        site.redirect("/a.bin", ("Location", f"http://{host}:{site.server_port}/b.bin"))
        with pytest.raises(DownloadFailed, match="redirected to a forbidden host"):
            downloads.fetch(RemoteFile(site.url("/a.bin")))
        assert site.asked == ["/a.bin"]


def test_an_untrusted_certificate_is_not_retried() -> None:
    assert not _is_retryable(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"))
    assert _is_retryable(httpx.ConnectError("Connection reset"))
