"""An OpenAI-compatible endpoint at the network's edge: a local HTTP server whose answers a test chooses."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
# What to respond to a request: a status, and the content of the message or, with another status, of the error.
Respond = Callable[[Body], tuple[int, str]]
ANSWER = {"summary": "A whale swims past a boat.", "topics": ["Whales", "sea"], "title": "Whale beside a boat"}
USED = (100, 20)


def texts_of(body: Body) -> dict[str, Any]:
    """What the request says of the video."""
    content = body["messages"][1]["content"]
    return dict(json.loads(content if isinstance(content, str) else content[0]["text"]))


class LanguageModel(ThreadingHTTPServer):
    """Responds as `respond` says, with `used` tokens; keeps all requests and the most that ran at the same time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Completions)
        self.respond: Respond = lambda _: (200, json.dumps(ANSWER))
        self.used = USED
        self.asked: list[Body] = []
        self.keys: list[str] = []
        self.running = self.most_running = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def titles(self) -> list[str]:
        """Titles of the videos that were asked about."""
        return [texts_of(body)["title"] for body in self.asked]


class _Completions(BaseHTTPRequestHandler):
    server: LanguageModel

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.asked.append(body)
            server.keys.append(self.headers["Authorization"])
            server.running += 1
            server.most_running = max(server.running, server.most_running)
        try:
            status, text = server.respond(body) if self.path == "/v1/chat/completions" else (404, "no such route")
        finally:
            with server.lock:
                server.running -= 1
        self._send(status, _completion(text, server.used) if status == 200 else {"error": {"message": text}})

    def _send(self, status: int, content: Body) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client did not wait
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def _completion(text: str, used: tuple[int, int]) -> Body:
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    usage = dict(zip(("prompt_tokens", "completion_tokens"), used, strict=True))
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": choices, "usage": usage}


@contextmanager
def language_model() -> Iterator[LanguageModel]:
    """Run an endpoint."""
    with LanguageModel() as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server
        server.shutdown()
