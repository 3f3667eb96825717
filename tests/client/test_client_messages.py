"""Validation of API messages."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from rayreel.client import messages
from rayreel.client.messages import BatchRequest, EmbedRequest, NewVideo, Problem, RecommendRequest, Video

MODELS = [m for m in vars(messages).values() if isinstance(m, type) and issubclass(m, BaseModel) and m is not BaseModel]


@pytest.mark.parametrize(
    "body",
    [
        {"video_id": "a"},
        {"text": " a ", "top_k": 200, "hybrid": True},
        {"video_id": "a", "text": None, "top_k": 5.0},
        {"embedding": [0, 0.5], "exclude": ["a"], "filter": {"category": "x"}},
        {"user": {"liked_categories": ["a"]}, "serendipity": 1},
        {"user": {"history": ["a", {"video_id": "b", "weight": 2, "timestamp": 1790000000.5}]}},
        {"video_id": "a", "weights": {"visual": 0.7, "text": 0.3}, "diversity": 0.5, "cross_category": True},
    ],
)
def test_one_query_with_its_options_is_accepted(body: dict[str, Any]) -> None:
    assert RecommendRequest.model_validate(body).model_fields_set == body.keys()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"video_id": None},
        {"video_id": "a", "text": "b"},
        {"video_id": "a", "user": {"history": ["b"]}},
        {"video_id": ""},
        {"text": "  "},
        {"text": "x" * 2001},
        {"video_id": "a", "top_k": 0},
        {"video_id": "a", "top_k": 201},
        {"video_id": "a", "top_k": "5"},
        {"video_id": "a", "top_k": 5.5},
        {"video_id": "a", "top_k": True},
        {"video_id": "a", "filter": "1 == 1"},
        {"video_id": "a", "exclude": ["x"] * 1001},
        {"video_id": "a", "diversity": 1.1},
        {"video_id": "a", "explain": 1},
        {"video_id": "a", "surprise": True},
        {"embedding": [0.0, 0.0]},
        {"embedding": [0.0, 1e-9]},
        {"embedding": [float("nan"), 1]},
        {"embedding": [float("inf"), 1]},
        {"user": {}},
        {"user": {"history": []}},
        {"user": {"history": [{"video_id": "a", "weight": 0}]}},
        {"video_id": "a", "weights": {"visual": 0}},
        {"video_id": "a", "weights": {"smell": 1}},
    ],
)
def test_an_invalid_query_is_rejected(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RecommendRequest.model_validate(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"embedding": [1, 2], "hybrid": True}, "hybrid"),
        ({"text": "a", "weights": {"visual": 1}}, "weights"),
        ({"embedding": [1, 2], "weights": {"visual": 1}}, "weights"),
    ],
)
def test_an_option_that_would_have_no_effect_is_rejected(body: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RecommendRequest.model_validate(body)


def test_plain_ids_in_a_history_have_weight_one() -> None:
    user = messages.User.model_validate({"history": ["a", {"video_id": "b", "weight": 3}]})
    assert [(entry.video_id, entry.weight, entry.timestamp) for entry in user.watched()] == [
        ("a", 1.0, None),
        ("b", 3.0, None),
    ]


@pytest.mark.parametrize("texts", [[], ["a"] * 65, [""], [5]])
def test_embedding_requires_one_to_64_non_empty_texts(texts: list[Any]) -> None:
    with pytest.raises(ValidationError):
        EmbedRequest.model_validate({"texts": texts})


def test_metadata_values_keep_their_types() -> None:
    metadata = {"views": 3, "live": True, "score": 1.5, "lang": "en", "none": None}
    kept = NewVideo.model_validate({"uri": "https://a/b.mp4", "metadata": metadata}).metadata
    assert json.dumps(kept) == json.dumps(metadata)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"uri": " "},
        {"uri": "https://a", "metadata": {"a.b": 1}},
        {"uri": "https://a", "metadata": {"a": [1]}},
        {"uri": "https://a", "metadata": {"a": float("nan")}},
        {"uri": "https://a", "video_id": " "},
        {"uri": "https://a", "tags": [""]},
        {"uri": "https://a", "created_at": -1},
    ],
)
def test_an_invalid_new_video_is_rejected(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NewVideo.model_validate(body)


def test_a_batch_requires_a_catalog() -> None:
    with pytest.raises(ValidationError):
        BatchRequest.model_validate({"catalog": ""})


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_example_in_a_schema_is_valid(model: type[BaseModel]) -> None:
    for example in model.model_json_schema().get("examples", []):
        model.model_validate(example)


def test_a_problem_omits_unset_fields() -> None:
    content = Problem(title="Not Found", status=404, detail="no such video").model_dump(exclude_none=True)
    assert content == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "no such video"}


def test_a_video_has_no_uri_by_default() -> None:
    assert Video(video_id="a", title="", category="").uri is None
