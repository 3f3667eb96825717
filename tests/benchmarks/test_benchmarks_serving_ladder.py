from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.serving.arrivals import Outcome
from benchmarks.serving.bare import nearest
from benchmarks.serving.direct import drive
from benchmarks.serving.ladder import Target, best, climb


def answered(latency_ms: float, count: int = 100, failed: int = 0) -> Outcome:
    status = np.full(count, 200)
    status[:failed] = 503
    return Outcome(np.arange(count) / count, np.full(count, latency_ms), status)


def server_of(capacity: float) -> Callable[[float], Outcome]:
    return lambda rate: answered(5.0 if rate <= capacity else 900.0)


@pytest.mark.parametrize("capacity", [37.0, 100.0, 733.0, 5000.0])
def test_the_highest_rate_held_is_found_to_the_precision(capacity: float) -> None:
    found = best(climb(server_of(capacity), 100, Target(), precision=0.05))
    assert found is not None and capacity / 1.05 <= found.rate <= capacity


def test_nothing_is_held_by_a_server_that_is_too_slow_or_that_fails() -> None:
    assert best(climb(server_of(1), 100, Target())) is None
    assert best(climb(lambda rate: answered(1.0, failed=1), 100, Target())) is None


def test_a_rate_that_fails_once_by_bad_luck_is_tried_again() -> None:
    luck = iter([900.0] + [5.0] * 100)
    rungs = climb(lambda rate: answered(next(luck) if rate < 500 else 900.0), 100, Target())
    found = best(rungs)
    assert found is not None and found.rate > 450


def test_only_so_many_answers_may_be_late() -> None:
    late = answered(5.0, count=1000)
    late.latency_ms[:10] = 500
    assert Target().met(late)
    late.latency_ms[:11] = 500
    assert not Target().met(late)


def test_the_bare_server_finds_the_nearest_videos_and_never_the_one_asked_for() -> None:
    embeddings_ND = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    embeddings_ND /= np.linalg.norm(embeddings_ND, axis=1, keepdims=True)
    scores_N = embeddings_ND @ embeddings_ND[7]
    expected = [i for i in np.argsort(-scores_N) if i != 7]
    assert [place for place, _ in nearest(embeddings_ND, 7, 5)] == expected[:5]
    assert sorted(place for place, _ in nearest(embeddings_ND, 7, 200)) == sorted(expected)


def test_calls_are_made_at_their_rate_and_a_failing_one_counts() -> None:
    asked = []

    def ask(place: int) -> None:
        asked.append(place)
        if place == 3:
            raise ValueError("gone")

    outcome = drive(ask, 500, np.arange(20))
    assert sorted(asked) == list(range(20))
    assert outcome.failed == 1 and outcome.status[3] == 0
