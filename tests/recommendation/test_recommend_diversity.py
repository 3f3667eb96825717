from pathlib import Path

import numpy as np

from live_case import Release, at, explanation, pinned, random_video
from rayreel.client.messages import RecommendRequest
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import by_id_fast, recommend
from rayreel.recommendation.results import select_diverse
from release_rows import release_row


def reference(scores: np.ndarray, vectors: np.ndarray, count: int, diversity: float) -> list[int]:
    """Maximal marginal relevance, computed directly from its definition."""
    chosen = [int(np.argmax(scores))]
    while len(chosen) < min(count, len(scores)):
        rest = [i for i in range(len(scores)) if i not in chosen]
        worth = [(1 - diversity) * scores[i] - diversity * max(vectors[i] @ vectors[j] for j in chosen) for i in rest]
        chosen.append(rest[int(np.argmax(worth))])
    return chosen


def test_the_selection_equals_maximal_marginal_relevance() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        vectors = rng.normal(size=(int(rng.integers(1, 20)), 6)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        scores, diversity = vectors @ vectors[0], float(rng.uniform(0.05, 1))
        count = int(rng.integers(1, 25))
        assert select_diverse(scores, vectors, count, diversity) == reference(scores, vectors, count, diversity)


def test_diversity_replaces_the_farther_of_two_similar_videos(tmp_path: Path) -> None:
    angles = {"query": 0, "twin": 10, "other twin": 11, "across": -30}
    release = Release(tmp_path, [release_row(name, embedding=at(d)) for name, d in angles.items()], neighbours=10)
    plain, diverse = (by_id_fast(release.live, "query", Options(2, diversity=d, explain=True)) for d in (0.0, 0.5))
    assert plain is not None
    assert diverse is not None
    assert [found.video_id for found in plain.results] == ["twin", "other twin"]
    assert [(found.video_id, explanation(found).stage) for found in diverse.results] == [
        ("twin", "neighbours"),
        ("across", "mmr"),
    ]
    np.testing.assert_allclose([found.score for found in diverse.results], np.cos(np.deg2rad([10, 30])), atol=1e-5)


def test_diversity_chooses_among_more_candidates_if_the_settings_allow(tmp_path: Path) -> None:
    angles = {"query": 0.0, **{f"near{n}": 1 + n / 10 for n in range(12)}, "across": -30.0}
    release = Release(tmp_path, [release_row(name, embedding=at(d)) for name, d in angles.items()], neighbours=13)
    request = RecommendRequest(video_id="query", top_k=2, diversity=0.5)

    def found(candidates: int) -> set[str]:
        answer = recommend(pinned(release.live, diversity_candidates=candidates), request)
        return {video.video_id for video in answer.results}

    assert found(5) == {"near0", "across"}
    assert "across" not in found(1), "it is not among the nearest ten"


def test_more_diversity_lowers_the_similarity_within_lists(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    release = Release(tmp_path, [random_video(rng, f"v{n}") for n in range(80)], neighbours=79)

    def alikeness(diversity: float) -> float:
        answers = [by_id_fast(release.live, f"v{n}", Options(5, diversity=diversity)) for n in range(80)]
        lists = [np.stack([release.vector(f.video_id) for f in answer.results]) for answer in answers if answer]
        assert len(lists) == 80
        return float(np.mean([(vectors @ vectors.T)[np.triu_indices(5, 1)].mean() for vectors in lists]))

    levels = [alikeness(diversity) for diversity in (0.0, 0.3, 0.6, 0.9)]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] < levels[0] - 0.2
