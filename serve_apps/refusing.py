"""Early responses to requests whose body has not been received."""

import asyncio
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

# Closing a connection with unread bytes resets it, and the client loses the response. The body is read this long.
DRAIN_S = 5.0


async def refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a response now, and end it when the rest of the body has been discarded, or after DRAIN_S seconds."""

    async def send_unfinished(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "more_body": True}
        await send(message)

    await response(scope, receive, send_unfinished)
    await drain(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def drain(receive: Receive) -> None:
    """Read and discard the rest of a body for at most DRAIN_S seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while (await receive()).get("more_body"):
                pass
