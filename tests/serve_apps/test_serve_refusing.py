"""Early responses to requests whose body has not been received arrive completely."""

import asyncio
from itertools import chain, repeat

import pytest
from starlette.types import Message

from serve_apps import refusing
from serve_apps.problems import problem
from serve_apps.refusing import refuse

SCOPE = {"type": "http", "method": "POST", "path": "/", "headers": [], "state": {}}


def refused(body: list[Message], *, then_silent: bool = False) -> tuple[list[Message], int]:
    """Return the messages sent to a client that sends `body`, and the number of body messages read before the last."""
    sent: list[Message] = []
    pieces, read = iter(body), 0

    async def receive() -> Message:
        nonlocal read
        try:
            message = next(pieces)
        except StopIteration:
            if not then_silent:
                raise
            await asyncio.Event().wait()
            raise
        read += 1
        return message

    async def send(message: Message) -> None:
        sent.append({**message, "read": read})

    asyncio.run(refuse(problem(413, "Too large."), SCOPE, receive, send))
    return sent, read


def piece(more: bool) -> Message:
    return {"type": "http.request", "body": b"x", "more_body": more}


def test_the_response_is_sent_at_once_and_ended_after_the_body_is_read() -> None:
    (start, body, end), read = refused([*chain.from_iterable(repeat([piece(True)], 3)), piece(False)])
    assert (start["status"], start["read"], body["read"]) == (413, 0, 0)
    assert b"Too large." in body["body"] and body["more_body"]
    assert (end["body"], end["more_body"], end["read"], read) == (b"", False, 4, 4)


def test_a_disconnect_ends_the_response() -> None:
    sent, read = refused([piece(True), {"type": "http.disconnect"}])
    assert not sent[-1]["more_body"] and read == 2


def test_a_client_that_stops_sending_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusing, "DRAIN_S", 0.1)
    sent, read = refused([piece(True)], then_silent=True)
    assert not sent[-1]["more_body"] and read == 1
