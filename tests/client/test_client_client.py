"""The client with a local server that rejects requests, drops connections and recovers."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import httpx
import numpy as np
import pytest

from ports import free_port
from rayreel.client.client import ApiError, Client

FOUND = {
    "recommendation_id": "r",
    "release": 3,
    "results": [{"video_id": "b", "score": 0.5, "title": "B", "category": "c"}],
}
VIDEO = {"video_id": "a", "title": "A", "category": "c"}
BUSY = (503, {"status": 503, "title": "Service Unavailable", "detail": "Milvus is unavailable", "instance": "id-1"})
DROP = (0, None)


class Server(ThreadingHTTPServer):
    """Sends the given responses, one per request and the last one repeatedly; records all requests."""

    def __init__(self, responses: list[tuple[int, Any]], retry_after: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), RequestHandler)
        self.responses, self.retry_after = responses, retry_after
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
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
        return [json.loads(body) for _, _, _, body in self.requests]


class RequestHandler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, dict(self.headers.items()), body))
        self.server.times.append(time.monotonic())
        status, content = self.server.responses[min(len(self.server.requests), len(self.server.responses)) - 1]
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

    do_GET = do_POST = do_DELETE = respond

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield


def test_a_query_is_sent_as_specified_and_its_response_is_typed() -> None:
    with Server([(200, FOUND)]) as server, Client(server.url, "rr_key") as client:
        found = client.recommend(video_id="a", top_k=3, filter={"category": "c"}, explain=True)
    assert (found.release, found.results[0].video_id, found.results[0].score) == (3, "b", 0.5)
    method, path, headers, _ = server.requests[0]
    assert (method, path, headers["Authorization"]) == ("POST", "/v1/recommend", "Bearer rr_key")
    assert server.bodies() == [{"video_id": "a", "top_k": 3, "filter": {"category": "c"}, "explain": True}]


@pytest.mark.parametrize("trouble", [BUSY, (429, None), DROP])
def test_a_query_is_retried_until_it_succeeds(trouble: tuple[int, Any]) -> None:
    with Server([trouble, trouble, (200, FOUND)]) as server, Client(server.url) as client:
        assert client.recommend(text="waves").release == 3
    assert len(server.requests) == 3 and len({body for _, _, _, body in server.requests}) == 1


def test_the_client_waits_for_the_time_in_retry_after() -> None:
    with Server([BUSY, (200, FOUND)], retry_after="1") as server, Client(server.url) as client:
        client.recommend(text="waves")
    assert server.times[1] - server.times[0] >= 1


def test_after_the_last_retry_the_error_of_the_service_is_raised() -> None:
    with Server([BUSY]) as server, Client(server.url, retries=2) as client:
        with pytest.raises(
            ApiError, match=r"503 Service Unavailable: Milvus is unavailable \(request id-1\)"
        ) as caught:
            client.release()
        assert len(server.requests) == 3
    assert (caught.value.status, caught.value.request_id) == (503, "id-1")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 500, 504])
def test_a_permanent_error_is_not_retried(status: int) -> None:
    with Server([(status, {"status": status, "title": "No", "detail": "no"})]) as server, Client(server.url) as client:
        with pytest.raises(ApiError) as caught:
            client.video("a")
        assert caught.value.status == status and len(server.requests) == 1


@pytest.mark.parametrize("trouble", [BUSY, DROP])
def test_a_request_that_adds_something_is_not_retried_if_it_may_have_been_processed(trouble: tuple[int, Any]) -> None:
    with Server([trouble, (201, VIDEO)]) as server, Client(server.url) as client:
        with pytest.raises(ApiError):
            client.add_video("https://a/b.mp4")
        assert len(server.requests) == 1


def test_a_request_that_adds_something_is_retried_after_a_rate_limit_error() -> None:
    with Server([(429, None), (201, VIDEO)]) as server, Client(server.url) as client:
        assert client.add_video("https://a/b.mp4", title="A").video_id == "a"
    assert server.bodies() == [{"uri": "https://a/b.mp4", "title": "A"}] * 2


def test_an_unreachable_service_raises_an_error_after_the_retries() -> None:
    port = free_port()
    with Client(f"http://127.0.0.1:{port}", retries=1) as client, pytest.raises(ApiError, match="did not respond") as e:
        client.ready()
    assert e.value.status is None


def test_an_error_without_a_message_is_reported_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **_options: object) -> NoReturn:
        raise httpx.ReadError("")

    monkeypatch.setattr(httpx.Client, "request", fail)
    with Client("http://127.0.0.1", retries=0) as client, pytest.raises(ApiError, match=r"respond: ReadError\."):
        client.ready()


def test_a_file_is_uploaded_with_its_fields(tmp_path: Path) -> None:
    (film := tmp_path / "film.mp4").write_bytes(b"bytes of a film")
    with Server([(201, VIDEO)]) as server, Client(server.url) as client:
        client.add_video(film, title="A", tags=["x", "y"], metadata={"views": 3})
    _, _, headers, body = server.requests[0]
    assert headers["Content-Type"].startswith("multipart/form-data")
    assert b"bytes of a film" in body and b'filename="film.mp4"' in body and b'{"views": 3}' in body
    assert body.count(b'name="tags"') == 2 and b'name="uri"' not in body


def test_an_upload_is_retried_with_the_same_bytes(tmp_path: Path) -> None:
    (film := tmp_path / "film.mp4").write_bytes(b"bytes of a film")
    with Server([BUSY, (200, FOUND)]) as server, Client(server.url) as client:
        assert client.recommend_upload(film, title="A", top_k=4).release == 3
    assert all(b"bytes of a film" in body and b"\r\n4\r\n" in body for _, _, _, body in server.requests)


def test_the_options_of_an_upload_are_sent_as_form_fields(tmp_path: Path) -> None:
    (film := tmp_path / "film.mp4").write_bytes(b"bytes of a film")
    options: dict[str, Any] = {
        "filter": {"category": "a"},
        "exclude": ["x", "y"],
        "explain": True,
        "weights": {"visual": 1},
    }
    with Server([(200, FOUND)]) as server, Client(server.url) as client:
        client.recommend_upload(film, **options)
        with pytest.raises(ApiError, match="UploadQuery: diversity: "):
            client.recommend_upload(film, diversity=2)
    (request,) = server.requests
    body = request[3]
    assert body.count(b'name="exclude"') == 2 and b'{"category": "a"}' in body and b'{"visual": 1.0}' in body
    assert b'name="explain"\r\n\r\ntrue\r\n' in body and b'name="diversity"' not in body


def test_all_pages_are_requested() -> None:
    pages = [{"videos": [VIDEO], "next_cursor": "n"}, {"videos": [VIDEO, VIDEO], "next_cursor": None}]
    with Server([(200, page) for page in pages]) as server, Client(server.url) as client:
        assert len(list(client.videos(page=2))) == 3
    assert [path for _, path, _, _ in server.requests] == ["/v1/videos?limit=2", "/v1/videos?limit=2&cursor=n"]


@pytest.mark.parametrize(
    ("video_id", "path"),
    [("a/b c?d#e%", "a%2Fb%20c%3Fd%23e%25"), ("..", "%2E%2E"), (".", "%2E"), ("über", "%C3%BCber"), ("a.b", "a.b")],
)
def test_an_id_with_any_characters_is_a_single_path_segment(video_id: str, path: str) -> None:
    with Server([(204, None)]) as server, Client(server.url) as client:
        client.delete_video(video_id)
    assert server.requests[0][:2] == ("DELETE", f"/v1/videos/{path}")


def test_a_deletion_succeeds_if_only_its_response_was_lost() -> None:
    gone = (404, {"status": 404, "title": "Not Found", "detail": "no such video"})
    with Server([DROP, gone]) as server, Client(server.url) as client:
        client.delete_video("a")
        assert len(server.requests) == 2
    with Server([gone]) as server, Client(server.url) as client, pytest.raises(ApiError, match="no such video"):
        client.delete_video("a")


@pytest.mark.parametrize("query", [{}, {"video_id": "a", "text": "b"}, {"text": "a", "colour": "red"}])
def test_an_invalid_query_is_rejected_before_it_is_sent(query: dict[str, Any]) -> None:
    with Server([(200, FOUND)]) as server, Client(server.url) as client:
        with pytest.raises(ApiError, match="RecommendRequest"):
            client.recommend(**query)
        assert not server.requests


def test_an_embedding_may_be_a_numpy_array() -> None:
    with Server([(200, FOUND)]) as server, Client(server.url) as client:
        client.recommend(embedding=np.array([0.5, -0.25], dtype=np.float32))
    assert server.bodies() == [{"embedding": [0.5, -0.25], "top_k": 10}]


@pytest.mark.parametrize("content", [b"<html>", b"{}", b""])
def test_an_unexpected_response_raises_an_api_error(content: bytes) -> None:
    with (
        Server([(200, content)]) as server,
        Client(server.url) as client,
        pytest.raises(ApiError, match="a valid Ready"),
    ):
        client.ready()
    with (
        Server([(200, content)]) as server,
        Client(server.url) as client,
        pytest.raises(ApiError, match="a valid list"),
    ):
        client.releases()
    with Server([(502, content)]) as server, Client(server.url) as client, pytest.raises(ApiError, match="HTTP 502"):
        client.ready()
