"""Errors of the API."""

import logging

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from ray.serve.exceptions import BackPressureError

from rayreel.client.messages import Problem, RecommendRequest
from rayreel.errors import RayreelError
from rayreel.index.config import IndexUnavailable
from rayreel.index.search import NoRelease
from rayreel.recommendation.live import UnknownVideo
from rayreel.settings import load_settings
from serve_apps.problems import install
from serve_apps.security import protect

INSIDE = "/srv/secret/place at 10.0.0.7"
ERRORS = {
    "unknown": UnknownVideo("'x' is not in videos_v1"),
    "nothing": NoRelease("nothing is promoted"),
    "away": IndexUnavailable(INSIDE),
    "other": RayreelError(INSIDE),
    "busy": BackPressureError(num_queued_requests=9, max_queued_requests=9),
    "fault": ZeroDivisionError(INSIDE),
}
STATUS = {"unknown": 404, "nothing": 503, "away": 503, "other": 503, "busy": 429, "fault": 500}


@pytest.fixture
def client() -> TestClient:
    api = FastAPI()
    install(api)

    @api.get("/fail/{name}")
    def fail(name: str) -> None:
        raise ERRORS[name]

    @api.post("/query")
    def query(_: RecommendRequest) -> None:
        return None

    protect(api, load_settings(), "127.0.0.1")
    return TestClient(api, raise_server_exceptions=False)


@pytest.mark.parametrize(("name", "status"), STATUS.items())
def test_each_error_has_its_status_and_the_request_id(client: TestClient, name: str, status: int) -> None:
    answer = client.get(f"/fail/{name}", headers={"X-Request-Id": "my-1"})
    reported = Problem.model_validate(answer.json())
    assert answer.status_code == reported.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert reported.detail and reported.instance == "my-1"
    assert ("Retry-After" in answer.headers) == (status in {429, 503})


@pytest.mark.parametrize("name", ["away", "other", "fault"])
def test_internal_paths_and_addresses_are_logged_but_not_returned(
    client: TestClient, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    answer = client.get(f"/fail/{name}")
    assert "secret" not in answer.text and "10.0.0" not in answer.text
    assert INSIDE in caplog.text


def test_the_message_of_a_client_error_is_returned(client: TestClient) -> None:
    assert "'x' is not in videos_v1" in client.get("/fail/unknown").json()["detail"]


def test_each_invalid_field_is_named(client: TestClient) -> None:
    answer = client.post("/query", json={"video_id": "a", "top_k": 0, "colour": 1})
    assert answer.status_code == 422
    assert {error["where"] for error in answer.json()["errors"]} == {"body.top_k", "body.colour"}


@pytest.mark.parametrize("request_line", [("GET", "/nowhere", 404), ("DELETE", "/query", 405)])
def test_errors_of_the_router_are_problem_details(client: TestClient, request_line: tuple[str, str, int]) -> None:
    method, path, status = request_line
    answer = client.request(method, path)
    assert answer.status_code == Problem.model_validate(answer.json()).status == status
