"""A release's words: what a search by words finds, and how much it counts beside the embeddings."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.evaluation.metrics import Ranked, ndcg
from rayreel.features.texts import enriched_texts
from rayreel.index.postings import Postings, matches
from rayreel.index.vocabulary import Vocabulary
from rayreel.index.words import words
from rayreel.release.config import WordsConfig
from rayreel.release.rows import embeddings, part_embeddings, said_text

# How much the words add to a cosine. On 400 real clips, 0.5 leaves the ranking by category as it is; of 3000 titles of
# MicroLens, it finds single ones by one to three of their words about as well as BM25 alone.
DEFAULT_WEIGHT = 0.5
WEIGHTS = (0.0, 0.1, 0.2, 0.3, DEFAULT_WEIGHT, 1.0)
_MIN_QUERIES, _MAX_QUERIES = 100, 500
_K = 10


def documents(rows: pa.Table, config: WordsConfig) -> list[dict[str, float]]:
    """Return the words of the videos of release rows, each with the sum of its fields' boosts."""
    found: list[defaultdict[str, float]] = [defaultdict(float) for _ in range(rows.num_rows)]
    for boost, texts in _fields(rows, config):
        for of_video, text in zip(found, texts, strict=False):
            for word in words(text, config.language):
                of_video[word] += boost
    return [dict(of_video) for of_video in found]


def vocabulary(rows: pa.Table, config: WordsConfig) -> Vocabulary:
    """Return the vocabulary of the videos of rows with a title, tags, a description, SAID and WRITTEN."""
    (_, titles), *others = _fields(rows, config)
    return Vocabulary.of(titles, [text for _, texts in others for text in texts], config.language)


def _fields(rows: pa.Table, config: WordsConfig) -> list[tuple[float, list[str]]]:
    """The boost and the texts of title, tags, description, transcript and summary; none where the boost is 0."""
    boosts = config.boosts
    return [
        (boosts.title, [title or "" for title in rows["title"].to_pylist()] if boosts.title else []),
        (boosts.tags, ["\n".join(tags or ()) for tags in rows["tags"].to_pylist()] if boosts.tags else []),
        (boosts.description, [text or "" for text in rows["description"].to_pylist()] if boosts.description else []),
        (boosts.transcript, said_text(rows) if boosts.transcript else []),
        (boosts.summary, enriched_texts(rows) if boosts.summary else []),
    ]


def word_weight(rows: pa.Table, postings: Postings, config: WordsConfig) -> float:
    """Return how much a match of the words adds to the cosine of a query by text, chosen on the release's own titles.

    Each of up to 500 videos with a title and a category is a query by its text alone, whose own video, and those with
    the same words, are not among the candidates; videos of its category are relevant. The result is the largest weight
    whose nDCG@10 is within one standard error of the best: many words help to find a single video, which this task does
    not show. DEFAULT_WEIGHT if there are fewer than 100 such queries.
    """
    category_N = np.asarray([name or "" for name in rows["category"].to_pylist()])
    titles = [words(title or "", config.language) for title in rows["title"].to_pylist()]
    queries_ND, present_N = part_embeddings(rows, Modality.TEXT)
    asked = np.flatnonzero(present_N & (category_N != "") & np.asarray([bool(title) for title in titles], bool))
    asked = np.random.default_rng(0).permutation(asked)[:_MAX_QUERIES]
    vectors_ND = embeddings(rows)
    quality = [
        _quality(queries_ND[q].astype(np.float32) @ vectors_ND.T, matches([postings], titles[q])[0], q, category_N)
        for q in asked.tolist()
    ]
    quality_QW = np.asarray([found for found in quality if found is not None])
    if len(quality_QW) < _MIN_QUERIES:
        return DEFAULT_WEIGHT
    loss_QW = quality_QW[:, [int(quality_QW.mean(axis=0).argmax())]] - quality_QW
    tolerated_W = loss_QW.std(axis=0) / np.sqrt(len(loss_QW))
    return max(weight for weight, good in zip(WEIGHTS, loss_QW.mean(axis=0) <= tolerated_W, strict=True) if good)


def _quality(
    cosine_N: NDArray[np.float32], match_N: NDArray[np.float32], query: int, category_N: NDArray[np.str_]
) -> NDArray[np.float64] | None:
    """Return nDCG@10 with each of the weights; None if no other video is relevant."""
    candidates = np.flatnonzero(match_N < match_N[query])
    relevant_C = category_N[candidates] == category_N[query]
    if not relevant_C.any():
        return None
    scores_WC = cosine_N[candidates] + np.outer(WEIGHTS, match_N[candidates])
    order_WK = np.argsort(-scores_WC, axis=1, kind="stable")[:, :_K]
    relevant_W = np.full(len(WEIGHTS), relevant_C.sum())
    return ndcg(Ranked(candidates[order_WK], relevant_C[order_WK], relevant_W), _K)
