"""Refusing a request while its body is still on the way."""

import asyncio
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

# A connection that is closed with bytes unread is reset, and with it goes the answer. So long it is read on.
DRAIN_S = 5.0


async def refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer at once, and end it when the body has been read and thrown away, or after DRAIN_S seconds."""

    async def unfinished(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "more_body": True}
        await send(message)

    await answer(scope, receive, unfinished)
    await drain(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def drain(receive: Receive) -> None:
    """Read what is left of a body and throw it away, for at most DRAIN_S seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while (await receive()).get("more_body"):
                pass
