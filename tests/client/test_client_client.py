"""The client against a server of this machine that refuses, breaks off and comes back."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ports import free_port
from rayreel.client.client import ApiError, Client

FOUND = {"release": 3, "results": [{"video_id": "b", "score": 0.5, "title": "B", "category": "c"}]}
VIDEO = {"video_id": "a", "title": "A", "category": "c"}
BUSY = (503, {"status": 503, "title": "Service Unavailable", "detail": "Milvus is away", "instance": "id-1"})
DROP = (0, None)


class Server(ThreadingHTTPServer):
    """Gives the planned answers, one a request, the last one again and again; keeps what was asked."""

    def __init__(self, answers: list[tuple[int, Any]], retry_after: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.answers, self.retry_after = answers, retry_after
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.times: list[float] = []

    def __enter__(self) -> "Server":
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, _, _, body in self.asked]


class Answers(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers.items()), body))
        self.server.times.append(time.monotonic())
        status, content = self.server.answers[min(len(self.server.asked), len(self.server.answers)) - 1]
        if status == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        raw = b"" if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        if status in {429, 503} and self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield


def test_a_question_arrives_as_asked_and_its_answer_is_typed() -> None:
    with Server([(200, FOUND)]) as server, Client(server.url, "rr_key") as client:
        found = client.recommend(video_id="a", top_k=3, filter={"category": "c"}, explain=True)
    assert (found.release, found.results[0].video_id, found.results[0].score) == (3, "b", 0.5)
    method, path, headers, _ = server.asked[0]
    assert (method, path, headers["Authorization"]) == ("POST", "/v1/recommend", "Bearer rr_key")
    assert server.bodies() == [{"video_id": "a", "top_k": 3, "filter": {"category": "c"}, "explain": True}]


@pytest.mark.parametrize("trouble", [BUSY, (429, None), DROP])
def test_a_question_is_asked_again_until_it_is_answered(trouble: tuple[int, Any]) -> None:
    with Server([trouble, trouble, (200, FOUND)]) as server, Client(server.url) as client:
        assert client.recommend(text="waves").release == 3
    assert len(server.asked) == 3 and len({body for _, _, _, body in server.asked}) == 1


def test_the_client_waits_as_long_as_the_service_asks_for() -> None:
    with Server([BUSY, (200, FOUND)], retry_after="1") as server, Client(server.url) as client:
        client.recommend(text="waves")
    assert server.times[1] - server.times[0] >= 1


def test_after_its_retries_it_gives_up_with_the_services_words() -> None:
    with Server([BUSY]) as server, Client(server.url, retries=2) as client:
        with pytest.raises(ApiError, match=r"503 Service Unavailable: Milvus is away \(request id-1\)") as caught:
            client.release()
        assert len(server.asked) == 3
    assert (caught.value.status, caught.value.request_id) == (503, "id-1")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 500, 504])
def test_what_another_try_would_not_mend_is_not_tried_again(status: int) -> None:
    with Server([(status, {"status": status, "title": "No", "detail": "no"})]) as server, Client(server.url) as client:
        with pytest.raises(ApiError) as caught:
            client.video("a")
        assert caught.value.status == status and len(server.asked) == 1


@pytest.mark.parametrize("trouble", [BUSY, DROP])
def test_what_adds_something_is_not_sent_twice_when_it_may_have_begun(trouble: tuple[int, Any]) -> None:
    with Server([trouble, (201, VIDEO)]) as server, Client(server.url) as client:
        with pytest.raises(ApiError):
            client.add_video("https://a/b.mp4")
        assert len(server.asked) == 1


def test_a_refusal_by_the_rate_limit_did_not_begin_anything() -> None:
    with Server([(429, None), (201, VIDEO)]) as server, Client(server.url) as client:
        assert client.add_video("https://a/b.mp4", title="A").video_id == "a"
    assert server.bodies() == [{"uri": "https://a/b.mp4", "title": "A"}] * 2


def test_a_service_that_starts_later_is_waited_for() -> None:
    port = free_port()
    with Client(f"http://127.0.0.1:{port}", retries=1) as client, pytest.raises(ApiError, match="did not answer") as e:
        client.ready()
    assert e.value.status is None


def test_a_file_is_uploaded_whole_with_its_fields(tmp_path: Path) -> None:
    (film := tmp_path / "film.mp4").write_bytes(b"bytes of a film")
    with Server([(201, VIDEO)]) as server, Client(server.url) as client:
        client.add_video(film, title="A", tags=["x", "y"], metadata={"views": 3})
    _, _, headers, body = server.asked[0]
    assert headers["Content-Type"].startswith("multipart/form-data")
    assert b"bytes of a film" in body and b'filename="film.mp4"' in body and b'{"views": 3}' in body
    assert body.count(b'name="tags"') == 2 and b'name="uri"' not in body


def test_a_question_by_upload_is_repeated_with_the_same_bytes(tmp_path: Path) -> None:
    (film := tmp_path / "film.mp4").write_bytes(b"bytes of a film")
    with Server([BUSY, (200, FOUND)]) as server, Client(server.url) as client:
        assert client.recommend_upload(film, title="A", top_k=4).release == 3
    assert all(b"bytes of a film" in body and b"\r\n4\r\n" in body for _, _, _, body in server.asked)


def test_pages_are_followed_to_the_last() -> None:
    pages = [{"videos": [VIDEO], "next_cursor": "n"}, {"videos": [VIDEO, VIDEO], "next_cursor": None}]
    with Server([(200, page) for page in pages]) as server, Client(server.url) as client:
        assert len(list(client.videos(page=2))) == 3
    assert [path for _, path, _, _ in server.asked] == ["/v1/videos?limit=2", "/v1/videos?limit=2&cursor=n"]


@pytest.mark.parametrize(
    ("video_id", "path"),
    [("a/b c?d#e%", "a%2Fb%20c%3Fd%23e%25"), ("..", "%2E%2E"), (".", "%2E"), ("über", "%C3%BCber"), ("a.b", "a.b")],
)
def test_an_id_of_any_characters_stays_one_part_of_the_path(video_id: str, path: str) -> None:
    with Server([(204, None)]) as server, Client(server.url) as client:
        client.delete_video(video_id)
    assert server.asked[0][:2] == ("DELETE", f"/v1/videos/{path}")


def test_a_deletion_whose_answer_was_lost_has_worked_all_the_same() -> None:
    gone = (404, {"status": 404, "title": "Not Found", "detail": "no such video"})
    with Server([DROP, gone]) as server, Client(server.url) as client:
        client.delete_video("a")
        assert len(server.asked) == 2
    with Server([gone]) as server, Client(server.url) as client, pytest.raises(ApiError, match="no such video"):
        client.delete_video("a")


@pytest.mark.parametrize("query", [{}, {"video_id": "a", "text": "b"}, {"text": "a", "colour": "red"}])
def test_a_question_without_sense_is_refused_before_it_is_sent(query: dict[str, Any]) -> None:
    with Server([(200, FOUND)]) as server, Client(server.url) as client:
        with pytest.raises(ApiError, match="RecommendRequest"):
            client.recommend(**query)
        assert not server.asked


def test_an_embedding_may_be_an_array() -> None:
    with Server([(200, FOUND)]) as server, Client(server.url) as client:
        client.recommend(embedding=np.float32([0.5, -0.25]))
    assert server.bodies() == [{"embedding": [0.5, -0.25], "top_k": 10}]


@pytest.mark.parametrize("content", [b"<html>", b"{}", b""])
def test_an_answer_of_something_else_is_an_error_and_no_crash(content: bytes) -> None:
    with Server([(200, content)]) as server, Client(server.url) as client, pytest.raises(ApiError, match="no Ready"):
        client.ready()
    with Server([(200, content)]) as server, Client(server.url) as client, pytest.raises(ApiError, match="no list"):
        client.releases()
    with Server([(502, content)]) as server, Client(server.url) as client, pytest.raises(ApiError, match="HTTP 502"):
        client.ready()
