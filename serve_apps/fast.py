"""The fast path: cached and in-memory responses without the overhead of the web framework."""

from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rayreel.client.messages import RecommendRequest
from rayreel.errors import RayreelError
from rayreel.recommendation.recommend import by_id_fast
from rayreel.recommendation.request import options_of
from serve_apps.render import rendered
from serve_apps.service import Service

ROUTE = "/v1/recommend"


class FastPath:
    """ASGI: answers `POST /v1/recommend` if that needs only this process's memory.

    All other requests, and invalid ones, are passed to the application.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on with its body."""
        if scope["type"] != "http" or scope["path"] != ROUTE or scope["method"] != "POST" or not _is_json(scope):
            await self.app(scope, receive, send)
            return
        messages: list[Message] = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        content = self._from_memory(b"".join(message.get("body", b"") for message in messages))
        if content is not None:
            scope["rayreel_route"] = ROUTE
            await _send(send, content)
            return
        waiting = iter(messages)

        async def receive_again() -> Message:
            return next(waiting, None) or await receive()

        await self.app(scope, receive_again, send)

    def _from_memory(self, body: bytes) -> bytes | None:
        try:
            serving = self.service.state.current
            answers, state = self.service.state.answers, serving.live.state
            cached = answers.get(state, body)
            self.service.metrics.looked_up(hit=cached is not None)
            if cached is not None:
                return cached
            query = RecommendRequest.model_validate_json(body)
            options = options_of(query, self.service.settings.recommend)
            found = None if query.video_id is None else by_id_fast(serving.live, query.video_id, options)
        except (ValidationError, RayreelError):  # the application reports it
            return None
        if found is None:
            return None
        content = rendered(found)
        answers.put(state, body, content)
        return content


def _is_json(scope: Scope) -> bool:
    return any(name == b"content-type" and value.startswith(b"application/json") for name, value in scope["headers"])


async def _send(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
