"""Reranking of the first results of a query by text."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from live_case import Release, at, pinned
from rayreel.client.messages import RecommendRequest
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.query import BadQuery, Options
from rayreel.recommendation.recommend import by_vector
from rayreel.recommendation.reranking import rerank, texts_of, with_candidates
from release_rows import release_row

REQUEST = RecommendRequest(text="late whales", top_k=3, rerank=True)


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Six videos at angles of 0 to 50 degrees; of v4, a long speech is known."""
    said = [{"start_s": 0.0, "end_s": 1.0, "text": "Hello"}, {"start_s": 1.0, "end_s": 2.0, "text": "a whale"}]
    rows = [release_row(f"v{n}", embedding=at(n * 10), title=f"film {n}", description="d" * n) for n in range(6)]
    rows[4] |= {"segments": said}
    return Release(tmp_path, rows, neighbours=3)


def later_is_better(query: str, texts: list[str]) -> NDArray[np.float32]:
    assert query == "late whales"
    return np.asarray([float(text.split()[1].rstrip(".")) for text in texts], np.float32)


def test_the_first_results_are_ordered_by_the_reranker_and_others_follow(release: Release) -> None:
    config = RecommendConfig(reranker="any", reranked=4)
    wanted = with_candidates(REQUEST, config)
    assert wanted.top_k == 4
    found = by_vector(pinned(release.live), at(0), Options(wanted.top_k))
    best = rerank(release.live, found, REQUEST, later_is_better, config.reranked)
    assert [(result.video_id, result.reranked) for result in best] == [("v3", 3), ("v2", 2), ("v1", 1)]
    assert best.reranking_ms is not None and best.reranking_ms >= 0
    many = REQUEST.model_copy(update={"top_k": 6})
    found = by_vector(pinned(release.live), at(0), Options(with_candidates(many, config).top_k))
    again = rerank(release.live, found, many, later_is_better, config.reranked)
    assert [result.video_id for result in again] == ["v3", "v2", "v1", "v0", "v4", "v5"]
    assert [result.reranked for result in again][4:] == [None, None]


def test_the_reranker_reads_title_description_and_the_passage_of_the_words(release: Release) -> None:
    found = by_vector(pinned(release.live), at(40), Options(1))
    assert texts_of(release.live, found, "whales") == ["film 4. dddd. a whale"]
    assert texts_of(release.live, found, "zebras") == ["film 4. dddd. Hello a whale"]


def test_without_a_reranker_and_without_text_it_is_an_error() -> None:
    with pytest.raises(BadQuery, match=r"recommend\.reranker"):
        with_candidates(REQUEST, RecommendConfig())
    for other in ({"video_id": "v1"}, {"text": "a", "diversity": 0.5}, {"text": "a", "space": "text"}):
        with pytest.raises(ValidationError, match="rerank"):
            RecommendRequest.model_validate({**other, "rerank": True})
