"""Responses to requests that have not been read completely."""

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from serve_apps.identified import Identified


@pytest.fixture
def client() -> TestClient:
    api = FastAPI()

    @api.post("/unread")
    async def unread() -> None:
        return None

    @api.post("/read")
    async def read(request: Request) -> int:
        return len(await request.body())

    api.add_middleware(Identified)
    return TestClient(api)


@pytest.mark.parametrize(("path", "content", "closed"), [("/unread", b"a", True), ("/unread", b"", False)])
def test_a_response_before_the_end_of_the_body_closes_the_connection(
    client: TestClient, path: str, content: bytes, closed: bool
) -> None:
    assert (client.post(path, content=content).headers.get("connection") == "close") is closed


def test_a_request_that_was_read_keeps_the_connection_open(client: TestClient) -> None:
    assert "connection" not in client.post("/read", content=b"a").headers
