import email
from collections.abc import Callable
from email.message import Message

import numpy as np
import pytest

from benchmarks.bare_server import nearest
from benchmarks.highest_rate import draw, highest_rate, requests_by_id, upload_request
from benchmarks.load import LoadOutcome


def outcome(latency_ms: float, count: int = 100, failed: int = 0) -> LoadOutcome:
    status = np.full(count, 200)
    status[:failed] = 503
    return LoadOutcome(np.arange(count) / count, np.full(count, latency_ms), status, [])


def server_of(capacity: float) -> Callable[[float], LoadOutcome]:
    return lambda rate: outcome(5.0 if rate <= capacity else 900.0)


@pytest.mark.parametrize("capacity", [37.0, 100.0, 733.0, 5000.0])
def test_the_highest_rate_is_found_to_the_precision(capacity: float) -> None:
    found = highest_rate(server_of(capacity), 100, p99_ms=100, precision=0.05)
    assert capacity / 1.05 <= found <= capacity


def test_a_server_that_is_too_slow_or_fails_holds_no_rate() -> None:
    assert highest_rate(server_of(1), 100, p99_ms=100) == 0
    assert highest_rate(lambda rate: outcome(1.0, failed=1), 100, p99_ms=100) == 0


def test_a_rate_that_fails_is_tried_a_second_time() -> None:
    latencies = iter([900.0] + [5.0] * 100)
    found = highest_rate(lambda rate: outcome(next(latencies) if rate < 500 else 900.0), 100, p99_ms=100)
    assert found > 450


@pytest.mark.parametrize(("late", "holds"), [(10, True), (11, False)])
def test_at_most_one_percent_of_the_responses_may_be_late(late: int, holds: bool) -> None:
    tried = outcome(5.0, count=1000)
    tried.latency_ms[:late] = 500
    found = highest_rate(lambda rate: tried if rate <= 100 else outcome(500), 100, p99_ms=100)
    assert (found == 100) is holds


def test_uniform_draws_are_even_and_zipf_draws_follow_the_power_law() -> None:
    uniform, zipf = draw("uniform", 1000, 200_000), draw("zipf", 1000, 200_000)
    assert np.bincount(uniform, minlength=1000).max() < 300
    popular = np.sort(np.bincount(zipf, minlength=1000))[::-1]
    slope = np.polyfit(np.log(np.arange(1, 101)), np.log(popular[:100]), 1)[0]
    assert slope == pytest.approx(-1.1, abs=0.05)
    np.testing.assert_array_equal(draw("zipf", 1000, 50, seed=3), draw("zipf", 1000, 50, seed=3))


def test_a_query_by_id_is_a_whole_http_request() -> None:
    head, body = requests_by_id("/v1/recommend", ["a b"], top_k=3)[0].split(b"\r\n\r\n")
    assert body == b'{"video_id": "a b", "top_k": 3}'
    assert head.startswith(b"POST /v1/recommend HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


def test_an_upload_is_a_form_with_the_whole_file() -> None:
    content = bytes(range(256)) * 3
    head, _, body = upload_request("/v1/recommend/upload", content).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    kind = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Type"))
    form = email.message_from_bytes(kind + b"\r\n\r\n" + body)
    (part,) = (part for part in form.get_payload() if isinstance(part, Message))
    assert part.get_param("name", header="content-disposition") == "file"
    assert part.get_payload(decode=True) == content


def test_the_bare_server_finds_the_nearest_videos_without_the_query_itself() -> None:
    embeddings_ND = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    embeddings_ND /= np.linalg.norm(embeddings_ND, axis=1, keepdims=True)
    expected = [row for row in np.argsort(-(embeddings_ND @ embeddings_ND[7])) if row != 7]
    assert [row for row, _ in nearest(embeddings_ND, embeddings_ND[7], 5, leave_out=7)] == expected[:5]
    assert sorted(row for row, _ in nearest(embeddings_ND, embeddings_ND[7], 200, leave_out=7)) == sorted(expected)
    assert nearest(embeddings_ND, embeddings_ND[7], 1)[0][0] == 7
