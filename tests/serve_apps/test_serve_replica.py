"""The limits of a replica follow Serve's configuration."""

import asyncio

import httpx
import pytest
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve._private.config import DeploymentConfig
from ray.serve.context import _set_internal_replica_context
from starlette.types import Receive, Scope, Send

from serve_apps.admission import Admission
from serve_apps.replica import most_calls


@pytest.mark.parametrize("calls", [8, 64])
def test_a_replica_knows_how_many_calls_serve_sends_to_it(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.serve.context._INTERNAL_REPLICA_CONTEXT", None)
    _set_internal_replica_context(
        replica_id=ReplicaID(unique_id="a", deployment_id=DeploymentID(name="search")),
        servable_object=None,
        _deployment_config=DeploymentConfig(max_ongoing_requests=calls),
        rank=None,
        world_size=1,
    )
    assert most_calls() == calls


@pytest.mark.parametrize(("calls", "accepted"), [(256, 224), (64, 56), (8, 7), (1, 1)])
def test_the_service_refuses_requests_before_serve_does(calls: int, accepted: int) -> None:
    async def scenario() -> None:
        go, started = asyncio.Event(), 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal started
            started += 1
            await go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        transport = httpx.ASGITransport(Admission(app, calls))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            waiting = [asyncio.create_task(client.get("/")) for _ in range(accepted)]
            while started < accepted:
                await asyncio.sleep(0)
            refused = await client.get("/")
            health = asyncio.create_task(client.get("/healthz"))
            go.set()
            statuses = {(await request).status_code for request in (*waiting, health)}
        assert (refused.status_code, refused.headers["Retry-After"], statuses) == (429, "1", {200})

    asyncio.run(scenario())
