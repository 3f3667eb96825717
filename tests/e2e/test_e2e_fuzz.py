"""Fuzzing of the running service: valid and invalid requests cause no server error and no undeclared response.

`make test-all` runs the short run, `make test-faults` the long one.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    use_after_free,
)

from chain import CLIPS, ROOT, Chain

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(900)  # the first test waits for the service

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
    use_after_free,
]
IDS = [clip.video_id for clip in CLIPS[:20]]
TO_DELETE = [f"only for the fuzz {number}" for number in range(3)]
# Values that random data hardly ever hits: existing ids, an embedding of the right dimension, valid filters.
KNOWN: dict[str, dict[str, Any]] = {
    "video_id": {"enum": IDS},
    "embedding": {"enum": [[round((-1) ** i * (i % 7 + 1) / 8, 3) for i in range(512)], [1.0] + [0.0] * 511]},
    "filter": {
        "enum": [
            None,
            {"category": "category 3"},
            {"category": {"in": ["category 1", "category 2"]}, "not": {"video_id": {"in": IDS[:2]}}},
            {"or": [{"tags": {"any": ["a"]}}, {"duration_s": {"gte": 1, "lt": 60}}, {"extra.views": {"gt": 3}}]},
        ]
    },
}
LONG = int(os.environ.get("RAYREEL_TEST_FUZZ_EXAMPLES", "300"))
QUIET: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


def with_known(openapi: dict[str, Any]) -> dict[str, Any]:
    """Narrow the service's description to values that exist."""
    parts = openapi["components"]["schemas"]
    parts["RecommendRequest"]["properties"] |= KNOWN
    parts["Watched"]["properties"]["video_id"] = KNOWN["video_id"]
    parts["User"]["properties"]["history"]["items"] = KNOWN["video_id"]
    for path, operations in openapi["paths"].items():
        if path.startswith("/v1/videos/{"):
            operations["get"]["parameters"][0]["schema"] = KNOWN["video_id"]
        if path.startswith("/v1/videos/{") and "delete" in operations:
            operations["delete"]["parameters"][0]["schema"] = {"enum": TO_DELETE}
    return openapi


def described(service: Chain, *, known: bool) -> BaseSchema:
    openapi = httpx.get(f"{service.url}/openapi.json", timeout=30).raise_for_status().json()
    config = SchemathesisConfig(seed=1)
    config.projects.default.update(base_url=service.url)
    # Deleting all videos would make all other requests meaningless.
    schema = schemathesis.openapi.from_dict(with_known(openapi) if known else openapi, config=config)
    return schema.exclude(method="DELETE", path="/v1/videos")


@contextmanager
def deletable(service: Chain) -> Iterator[None]:
    """Add videos to delete: other modules count the videos of the catalog."""
    content = (service.catalog.parent / CLIPS[0].file).read_bytes()
    for video_id in TO_DELETE:
        files = {"file": ("film.mp4", content)}
        httpx.post(f"{service.url}/v1/videos", data={"video_id": video_id}, files=files, timeout=120).raise_for_status()
    yield
    for video_id in TO_DELETE:
        assert httpx.delete(f"{service.url}/v1/videos/{video_id}", timeout=60).status_code in {200, 204, 404}


@pytest.fixture(scope="module")
def answered(chain: Chain) -> Iterator[Counter[tuple[str, int]]]:
    """Number of responses by operation and status; logged at the end."""
    counts: Counter[tuple[str, int]] = Counter()
    with deletable(chain):
        yield counts
    for (operation, status), times in sorted(counts.items()):
        log.info("%-32s %d x %d", operation, status, times)
    assert {status // 100 for _, status in counts} == {2, 4}, counts
    # The service still runs and has its release.
    assert httpx.get(f"{chain.url}/readyz", timeout=60).status_code == 200


def ask_all(service: Chain, answered: Counter[tuple[str, int]], subtests: pytest.Subtests, examples: int) -> None:
    """Test each operation with known values, and with requests that its description allows and forbids."""
    for known, mode in ((True, GenerationMode.POSITIVE), *((False, mode) for mode in GenerationMode)):
        for result in described(service, known=known).get_all_operations():
            assert isinstance(result, Ok), result
            operation = result.ok()
            if mode.is_positive or operation.body or operation.query:
                with subtests.test(operation=operation.label, mode=mode.value, known=known):
                    ask_one(operation.as_strategy(mode), answered, examples)


def ask_one(cases: SearchStrategy[schemathesis.Case[Any]], answered: Counter[tuple[str, int]], examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(case=cases)
    def ask(case: schemathesis.Case[Any]) -> None:
        response = case.call_and_validate(checks=CHECKS, timeout=120)
        answered[case.operation.label, response.status_code] += 1
        assert b"Traceback" not in response.content and str(ROOT).encode() not in response.content

    ask()


@pytest.mark.slow
def test_no_request_causes_a_server_error_or_an_undeclared_response(
    chain: Chain, answered: Counter[tuple[str, int]], subtests: pytest.Subtests
) -> None:
    ask_all(chain, answered, subtests, examples=10)


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_no_request_of_many_causes_a_server_error_or_an_undeclared_response(
    chain: Chain, answered: Counter[tuple[str, int]], subtests: pytest.Subtests
) -> None:
    ask_all(chain, answered, subtests, examples=LONG)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"top_k":' + b"9" * 5000 + b"}", b"{}" * 9],
)
@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/embed", "/v1/videos", "/v1/videos/batch"])
def test_a_body_that_is_not_valid_json_gets_problem_details(chain: Chain, path: str, content: bytes) -> None:
    answer = httpx.post(f"{chain.url}{path}", content=content, headers={"Content-Type": "application/json"}, timeout=60)
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "https://127.0.0.1:1/a.mp4",
        "https://169.254.169.254/latest/meta-data",
        "http://example.com/a.mp4",
        "s3://bucket/a.mp4",
        "zip://a::file:///etc/passwd",
        "memory://a",
    ],
)
def test_an_internal_address_is_refused_without_revealing_what_is_there(chain: Chain, uri: str) -> None:
    for path, body in (("/v1/videos", {"uri": uri}), ("/v1/videos/batch", {"catalog": uri})):
        answer = httpx.post(f"{chain.url}{path}", json=body, timeout=60)
        assert answer.status_code == 422, answer.text
        assert "root:" not in answer.text and "no such" not in answer.text
