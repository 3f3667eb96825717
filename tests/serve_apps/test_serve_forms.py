"""Multipart forms: the fields of a message beside a file."""

from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from rayreel.client.messages import NewVideo, RecommendOptions, UploadQuery
from serve_apps.forms import file_of, form_of, message_of
from serve_apps.problems import install

FILE = {"file": ("film.mp4", b"bytes")}
OPTIONS: dict[str, Any] = {
    "top_k": 3,
    "filter": {"category": {"in": ["a", "b"]}, "extra.views": {"gte": 3}},
    "weights": {"visual": 0.7, "audio": 0.0, "text": 0.3},
    "exclude": ["v1", "true", "7"],
    "diversity": 0.25,
    "cross_category": True,
    "serendipity": 0.5,
    "hybrid": True,
    "threshold": -0.5,
    "explain": True,
    "scenario": "home",
    "release": 2,
}
FORM = {
    "title": " Surf at dawn ",
    "top_k": "3",
    "filter": '{"category": {"in": ["a", "b"]}, "extra.views": {"gte": 3}}',
    "weights": '{"visual": 0.7, "text": 0.3}',
    "exclude": ["v1", "true", "7"],
    "diversity": "0.25",
    "cross_category": "true",
    "serendipity": "0.5",
    "hybrid": "true",
    "threshold": "-0.5",
    "explain": "true",
    "scenario": "home",
    "release": "2",
}


@pytest.fixture(scope="module")
def client() -> TestClient:
    api = FastAPI()
    install(api)

    @api.post("/query")
    async def query(request: Request) -> dict[str, Any]:
        async with request.form() as form:
            return {"name": file_of(form).filename, **message_of(UploadQuery, form).model_dump()}

    @api.post("/video")
    async def video(request: Request) -> dict[str, Any]:
        async with request.form() as form:
            return message_of(NewVideo, form, uri="uploaded").model_dump()

    return TestClient(api, raise_server_exceptions=False)


def invalid(client: TestClient, path: str, **request: Any) -> list[str]:  # noqa: ANN401 - as in httpx
    """Return the fields that the answer to a request names as invalid."""
    answer = client.post(path, **request)
    assert answer.status_code == 422, answer.text
    return [error["where"] for error in answer.json()["errors"]]


def test_every_option_of_a_query_can_be_sent_in_a_form(client: TestClient) -> None:
    space = {"space": "visual", "metric": "l1"}  # not together with the others
    assert OPTIONS.keys() | space.keys() == RecommendOptions.model_fields.keys()
    answer = client.post("/query", files=FILE, data=FORM)
    assert answer.json() == {"name": "film.mp4", "title": "Surf at dawn", **OPTIONS, "space": None, "metric": None}
    answer = client.post("/query", files=FILE, data=space)
    assert answer.json() == {"name": "film.mp4", "title": "", **RecommendOptions().model_dump(), **space}


def test_without_options_a_form_has_the_defaults_of_other_queries(client: TestClient) -> None:
    answer = client.post("/query", files=FILE)
    assert answer.json() == {"name": "film.mp4", "title": "", **RecommendOptions().model_dump()}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top_k", "0"),
        ("top_k", "many"),
        ("top_k", '"3"'),
        ("filter", "{"),
        ("filter", '"a"'),
        ("weights", '{"visual": 2}'),
        ("weights", "[" * 100_000),
        ("exclude", ""),
        ("diversity", "1.5"),
        ("diversity", "NaN"),
        ("explain", "1"),
        ("explain", "True"),
        ("title", "x" * 2001),
        ("colour", "red"),
    ],
)
def test_an_invalid_field_is_named(client: TestClient, field: str, value: str) -> None:
    (where,) = invalid(client, "/query", files=FILE, data={field: value})
    assert where.startswith(f"body.{field}")


def test_a_form_without_a_file_names_the_file(client: TestClient) -> None:
    assert invalid(client, "/query", data={"file": "text"}) == ["body.file"]
    assert invalid(client, "/query", json={"top_k": 3}) == ["body.file"]


def test_hybrid_requires_a_title(client: TestClient) -> None:
    answer = client.post("/query", files=FILE, data={"hybrid": "true", "title": " "})
    assert answer.status_code == 422 and "hybrid requires a title" in answer.json()["detail"]


def test_a_new_video_has_its_fields_in_a_form(client: TestClient) -> None:
    form = {"title": "12", "tags": ["a", "b"], "metadata": '{"views": 3}', "created_at": "9.5", "uri": "/etc/passwd"}
    video = client.post("/video", files=FILE, data=form).json()
    assert (video["title"], video["tags"], video["metadata"]) == ("12", ["a", "b"], {"views": 3})
    assert (video["created_at"], video["uri"]) == (9.5, "uploaded")
    assert invalid(client, "/video", data={"metadata": "{", "title": "a"}) == ["body.metadata"]


def test_a_form_is_described_with_every_field() -> None:
    described = form_of(UploadQuery)["multipart/form-data"]["schema"]
    assert described["properties"].keys() == {"file", *UploadQuery.model_fields}
    assert described["required"] == ["file"]
    for name in ("filter", "weights"):
        assert described["properties"][name]["type"] == "string"
        assert described["properties"][name]["contentMediaType"] == "application/json"
    assert "uri" not in form_of(NewVideo, without=("uri",))["multipart/form-data"]["schema"]["properties"]
