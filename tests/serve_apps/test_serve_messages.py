"""What the API accepts, and how it says no."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError

from rayreel.errors import RayreelError
from rayreel.index.config import IndexUnavailable
from rayreel.index.search import Hit, NoRelease, UnknownVideo
from serve_apps.messages import RecommendRequest, Result
from serve_apps.problems import install


@pytest.mark.parametrize("body", [{"video_id": "a"}, {"text": "a"}, {"text": " a ", "top_k": 200}])
def test_one_query_is_accepted(body: dict[str, object]) -> None:
    assert RecommendRequest.model_validate(body)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"video_id": "a", "text": "b"},
        {"video_id": ""},
        {"text": "  "},
        {"text": "x" * 2001},
        {"video_id": "a", "top_k": 0},
        {"video_id": "a", "top_k": 201},
        {"video_id": "a", "filter": "1 == 1"},
    ],
)
def test_anything_else_is_not(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RecommendRequest.model_validate(body)


def test_a_result_carries_what_the_index_found() -> None:
    result = Result.of(Hit("v1", 0.123456789, "Title", "cat"))
    assert result.model_dump() == {"video_id": "v1", "score": 0.123457, "title": "Title", "category": "cat"}


@pytest.fixture
def client() -> TestClient:
    api = FastAPI()
    install(api)
    errors = {
        "unknown": UnknownVideo("'x' is not in videos_v1"),
        "nothing": NoRelease("nothing is promoted"),
        "away": IndexUnavailable("Milvus did not answer"),
        "other": RayreelError("something to mend"),
        "fault": ZeroDivisionError("secret /path/in/a/message"),
    }

    @api.get("/{name}")
    def fail(name: str) -> None:
        raise errors[name]

    return TestClient(api, raise_server_exceptions=False)


@pytest.mark.parametrize(("name", "status"), [("unknown", 404), ("nothing", 503), ("away", 503), ("other", 503)])
def test_each_error_has_its_status_and_its_words(client: TestClient, name: str, status: int) -> None:
    answer = client.get(f"/{name}")
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_a_fault_of_ours_tells_nothing_of_the_inside(client: TestClient) -> None:
    answer = client.get("/fault")
    assert answer.status_code == 500 and "secret" not in answer.text
