"""Downloads from a real server that fails now and then, ignores ranges, changes its files or serves others."""

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
    _passing,
)
from rayreel.catalog.resume import Part, PartTaken

BODY = bytes(range(256)) * 2000
OTHER = bytes(reversed(BODY))
BREAK = 100_000


class Server(ThreadingHTTPServer):
    """Answers by the first word of the path and keeps the ranges it was asked for."""

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
        """Stops in the middle of each answer until it is healthy again."""
        self.send(most=None if self.server.healthy else BREAK)

    def answer_untagged(self) -> None:
        self.server.tag = ""
        self.answer_breaking()

    def answer_rangeless(self) -> None:
        del self.headers["Range"]
        self.answer_breaking()

    def answer_confused(self) -> None:
        """Gives another range than was asked for."""
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
        body, asked = self.server.body, self.headers["Range"]
        if asked and self.headers["If-Range"] not in {None, self.server.tag}:
            asked = None
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0  # type: ignore[index]
        if asked and start >= len(body):
            return self.start(416, {"Content-Range": f"bytes */{len(body)}"})
        headers = {"ETag": self.server.tag} if self.server.tag else {}
        headers |= {"Content-Length": str(len(body) - start)}
        headers |= {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if asked else {}
        return self.start(206 if asked else 200, headers, body[start:][:most])

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
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=[0.02], daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def downloads(tmp_path: Path) -> Iterator[Downloads]:
    with Downloads(tmp_path / "set", pause_s=0.001) as ready:
        yield ready


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_comes_whole_and_its_bar_fills(server: Server, downloads: Downloads) -> None:
    seen: list[tuple[int, int | None]] = []
    path = downloads.fetch(server.file("whole.bin"), lambda there, total: seen.append((there, total)))
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY)) and sorted(seen) == seen
    assert names(downloads.folder) == {"whole.bin", "SHA256SUMS"}


def test_faults_that_pass_are_tried_again(server: Server, downloads: Downloads) -> None:
    assert downloads.fetch(server.file("flaky.bin")).read_bytes() == BODY
    assert len(server.ranges) == 3


def test_a_broken_transfer_goes_on_where_it_broke(server: Server, downloads: Downloads) -> None:
    with pytest.raises(DownloadFailed, match="cannot be reached"):
        downloads.fetch(server.file("breaking.bin"))
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]
    server.healthy = True
    with Downloads(downloads.folder) as next_run:
        assert next_run.fetch(server.file("breaking.bin")).read_bytes() == BODY
    assert server.ranges[-1] == "bytes=400000-" and server.conditions[-1] == '"one"'
    assert server.sent == len(BODY)


def test_a_long_download_may_break_more_often_than_a_short_one_is_tried(server: Server, downloads: Downloads) -> None:
    server.body = bytes(9 << 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "BREAK", 5 << 18)
        assert downloads.fetch(server.file("breaking.bin")).stat().st_size == 9 << 20
    assert len(server.ranges) == 8


def test_a_file_that_changed_meanwhile_is_not_pieced_together(server: Server, downloads: Downloads) -> None:
    with pytest.raises(DownloadFailed):
        downloads.fetch(server.file("breaking.bin"))
    server.body, server.tag, server.healthy = OTHER, '"two"', True
    assert downloads.fetch(server.file("breaking.bin")).read_bytes() == OTHER


def test_without_a_version_or_a_checksum_a_part_is_not_trusted(server: Server, downloads: Downloads) -> None:
    with pytest.raises(DownloadFailed):
        downloads.fetch(server.file("untagged.bin"))
    assert server.ranges == [None] * 4
    server.body, server.healthy = OTHER, True
    assert downloads.fetch(server.file("untagged.bin")).read_bytes() == OTHER


def test_with_a_checksum_a_part_is_continued_and_the_whole_decides(server: Server, downloads: Downloads) -> None:
    with pytest.raises(DownloadFailed):
        downloads.fetch(server.file("untagged.bin", sha256(OTHER)))
    assert server.ranges[-1] == "bytes=300000-"
    # What came before was of another version: found out at the end, and fetched again in one go.
    server.body, server.healthy = OTHER, True
    assert downloads.fetch(server.file("untagged.bin", sha256(OTHER))).read_bytes() == OTHER
    assert server.ranges[-2:] == ["bytes=400000-", None]


def test_a_server_that_ignores_ranges_gives_the_whole_again(server: Server, downloads: Downloads) -> None:
    with pytest.raises(DownloadFailed):
        downloads.fetch(server.file("rangeless.bin"))
    assert len(server.ranges) == 4
    server.healthy = True
    assert downloads.fetch(server.file("rangeless.bin")).read_bytes() == BODY


def test_another_range_than_the_one_asked_for_is_not_appended(server: Server, downloads: Downloads) -> None:
    assert downloads.fetch(server.file("confused.bin")).read_bytes() == BODY


def test_a_part_that_is_whole_already_needs_no_transfer(server: Server, downloads: Downloads) -> None:
    (downloads.folder / "whole.bin.part").write_bytes(BODY)
    assert downloads.fetch(server.file("whole.bin", sha256(BODY), len(BODY))).read_bytes() == BODY
    assert (server.ranges, server.sent) == ([f"bytes={len(BODY)}-"], 0)


def test_another_content_than_the_published_one_is_refused_and_not_kept(server: Server, downloads: Downloads) -> None:
    with pytest.raises(WrongFile, match=rf"sha256 is {sha256(BODY)}, not {sha256(OTHER)}, which is published"):
        downloads.fetch(server.file("whole.bin", sha256(OTHER)))
    assert names(downloads.folder) == set()
    assert len(server.ranges) == 1


def test_a_wrong_content_in_pieces_is_fetched_once_more_and_not_for_ever(server: Server, downloads: Downloads) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(WrongFile, match="which is published"):
        patch.setitem(globals(), "BREAK", 200_000)
        downloads.fetch(server.file("breaking.bin", sha256(OTHER)))
    assert server.ranges == [None, "bytes=200000-", "bytes=400000-"] * 2


def test_another_length_than_the_published_one_is_refused_before_the_transfer(
    server: Server, downloads: Downloads
) -> None:
    with pytest.raises(WrongFile, match="512,000 bytes, not 5"):
        downloads.fetch(server.file("whole.bin", sha256(BODY), 5))
    assert names(downloads.folder) == set()


def test_the_first_download_is_remembered_in_the_form_of_sha256sum(server: Server, downloads: Downloads) -> None:
    downloads.fetch(server.file("whole.bin"))
    assert (downloads.folder / "SHA256SUMS").read_text() == f"{sha256(BODY)}  whole.bin\n"
    if program := shutil.which("sha256sum"):
        subprocess.run([program, "--check", "SHA256SUMS"], cwd=downloads.folder, check=True, capture_output=True)


def test_a_later_change_here_or_there_is_told(server: Server, downloads: Downloads) -> None:
    path = downloads.fetch(server.file("whole.bin"))
    path.write_bytes(OTHER)
    with (
        Downloads(downloads.folder) as next_run,
        pytest.raises(WrongFile, match=r"which SHA256SUMS has from the first time\. Delete it .* or, if it is"),
    ):
        next_run.fetch(server.file("whole.bin"))
    path.unlink()
    server.body = OTHER
    with pytest.raises(WrongFile, match=r"serves another whole\.bin than expected"):
        downloads.fetch(server.file("whole.bin"))


def test_a_file_put_there_by_hand_is_checked_and_nobody_is_asked(server: Server, downloads: Downloads) -> None:
    (downloads.folder / "whole.bin").write_bytes(BODY)
    downloads.fetch(server.file("whole.bin", sha256(BODY)))
    with pytest.raises(WrongFile, match="Delete it to download it again"):
        downloads.fetch(server.file("whole.bin", sha256(OTHER)))
    assert server.ranges == []


@pytest.mark.parametrize(
    ("word", "kind", "said", "requests"),
    [
        ("gone", NotThere, "127.0.0.1 has no gone.bin", 1),
        ("page", NotThere, "127.0.0.1 answers with a web page in place of page.bin", 1),
        ("secret", DownloadFailed, "127.0.0.1 answers HTTP 403 for secret.bin", 1),
        ("broken", DownloadFailed, "127.0.0.1 answers HTTP 500 for broken.bin", 4),
    ],
)
def test_a_file_that_does_not_come_is_told_with_the_way_by_hand(
    server: Server, downloads: Downloads, word: str, kind: type[Exception], said: str, requests: int
) -> None:
    with pytest.raises(kind) as error:
        downloads.fetch(server.file(f"{word}.bin?signature=hidden", user="name:hidden@"))
    told = str(error.value)
    assert said in told and "hidden" not in told
    assert f"get http://127.0.0.1:{server.server_port}/{word}.bin (about it: https://about.example/set)" in told
    assert f"put it at {downloads.folder / f'{word}.bin'}" in told
    assert len(server.ranges) == requests
    assert names(downloads.folder) == set()


def test_a_host_that_nobody_answers_for_is_named(downloads: Downloads) -> None:
    port = free_port()
    with pytest.raises(
        DownloadFailed, match=r"127\.0\.0\.1 cannot be reached for a\.csv \(.*refused.*put it at .*a\.csv"
    ):
        downloads.fetch(RemoteFile(f"http://127.0.0.1:{port}/a.csv"))


def test_of_many_files_those_that_are_not_there_are_told_and_the_others_come(
    server: Server, downloads: Downloads
) -> None:
    wanted = [server.file(name) for name in ("whole.1.mp4", "gone.2.mp4", "whole.3.mp4", "page.4.mp4")]
    ended: list[None] = []
    absent = downloads.fetch_all(wanted, done=lambda: ended.append(None))
    assert {file.name for file in absent} == {"gone.2.mp4", "page.4.mp4"}
    assert len(ended) == 4
    assert names(downloads.folder) == {"whole.1.mp4", "whole.3.mp4", "SHA256SUMS"}


def test_of_many_files_the_first_that_cannot_be_fetched_ends_all(server: Server, downloads: Downloads) -> None:
    wanted = [server.file(f"secret.{number}.mp4") for number in range(50)]
    with pytest.raises(DownloadFailed, match="HTTP 403"):
        downloads.fetch_all(wanted, at_once=2)
    assert len(server.ranges) < 50


def test_two_processes_never_write_one_part(tmp_path: Path) -> None:
    with Part(tmp_path / "a.bin") as part, pytest.raises(PartTaken, match="by another process"):
        part.write(b"x")
        Part(tmp_path / "a.bin")


def test_https_is_never_left_for_http_not_even_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    with (
        running_tls(tmp_path) as site,
        running(http_servers.Server()) as other,
        Downloads(tmp_path / "set") as downloads,
    ):
        site.redirect("/a.bin", ("Location", other.url("/b.bin")))
        other.redirect("/b.bin", ("Location", site.url("/c.bin")))
        with pytest.raises(DownloadFailed, match="leads away from https://, to 127"):
            downloads.fetch(RemoteFile(site.url("/a.bin")))
        assert not other.asked


@pytest.mark.parametrize("host", ["169.254.169.254", "localhost", "2130706433", "metadata.google.internal"])
def test_a_site_does_not_lead_into_the_network_of_this_machine(tmp_path: Path, host: str) -> None:
    with running(http_servers.Server()) as site, Downloads(tmp_path / "set") as downloads:
        site.redirect("/a.bin", ("Location", f"http://{host}:{site.server_port}/b.bin"))
        with pytest.raises(DownloadFailed, match="leads astray"):
            downloads.fetch(RemoteFile(site.url("/a.bin")))
        assert site.asked == ["/a.bin"]


def test_a_certificate_that_is_not_trusted_does_not_get_better_by_trying() -> None:
    assert not _passing(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"))
    assert _passing(httpx.ConnectError("Connection reset"))
