"""Reranking: the best results of a query by text, in the order of a network that reads query and text together."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from rayreel.client.messages import RecommendRequest
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live
from rayreel.recommendation.passages import passage_of
from rayreel.recommendation.query import BadQuery
from rayreel.recommendation.results import RankedResults
from rayreel.recommendation.wording import encoded_text

# Scores texts for a query: see `rayreel.encoders.cross_encoder`.
Score = Callable[[str, list[str]], NDArray[np.float32]]


def with_candidates(request: RecommendRequest, config: RecommendConfig) -> RecommendRequest:
    """Return the request for the results to rerank. Raises BadQuery without a reranker."""
    if config.reranker is None:
        raise BadQuery("This service has no reranker. Set recommend.reranker to a cross-encoder, or omit rerank.")
    return request.model_copy(update={"top_k": max(request.top_k, config.reranked)})


def texts_of(live: Live, found: RankedResults, query: str) -> list[str]:
    """Return what is read of each result: title, description and the passage in which most of the query is said."""
    return [_text(live, result.video_id, query) for result in found]


def _text(live: Live, video_id: str, query: str) -> str:
    place = live.place(video_id)
    row, said = live.row(place), live.transcript(place)
    passage = passage_of(said, query, live.snapshot.words.language)
    parts = row.title, row.description, passage.text if passage else said.text
    return ". ".join(part for part in parts if part)


def reranked(found: RankedResults, scores: Sequence[float], top_k: int, seconds: float) -> RankedResults:
    """Return the best `top_k` by these scores of the first results; results without a score follow in their order.

    `seconds` that the reranking took are kept with them.
    """
    scored = [result._replace(reranked=float(score)) for result, score in zip(found, scores, strict=False)]
    scored.sort(key=lambda result: -(result.reranked or 0.0))
    rest = found.results[len(scored) :]
    return replace(found, results=[*scored, *rest][:top_k], reranking_ms=round(1000 * seconds, 3))


def rerank(live: Live, found: RankedResults, request: RecommendRequest, score: Score, count: int) -> RankedResults:
    """Rerank the first `count` results of a request by text, in this process."""
    started, text = perf_counter(), encoded_text(request)
    scores = score(text, texts_of(live, found, text)[:count])
    return reranked(found, scores.tolist(), request.top_k, perf_counter() - started)
