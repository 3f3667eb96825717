"""Neighbours in the space of one encoder, for every kind of query, against brute force."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from live_case import Release, pinned
from rayreel.client.messages import RecommendRequest, UploadQuery
from rayreel.encoders.encoder import Modality
from rayreel.features.metric import Metric
from rayreel.recommendation.query import BadQuery
from rayreel.recommendation.recommend import by_id_fast, by_vector, check_request, options_of, parsed, recommend
from rayreel.recommendation.results import RankedResults
from release_rows import release_row

WIDTH = 5
METRICS = [("cosine", "cosine"), ("l2", "euclidean"), ("l1", "cityblock")]


def video(video_id: str, **columns: Any) -> dict[str, Any]:  # noqa: ANN401
    vector = np.random.default_rng(list(video_id.encode())).normal(size=WIDTH).astype(np.float16)
    return release_row(video_id, **({"raw_visual": vector, "raw_audio": None, "category": video_id[0]} | columns))


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Videos of a snapshot that keeps two spaces; since then, one was added, one changed and one deleted."""
    made = Release(tmp_path, [video(f"{letter}{n:02}") for letter in "ab" for n in range(30)], neighbours=4)
    made.put(video("silent", raw_visual=None))
    made.live = made.snapshot(4, [Modality.VISUAL, Modality.AUDIO])
    made.put(video("new"), video("a03", raw_visual=np.full(WIDTH, 0.5, np.float16)))
    made.delete("b07")
    made.refresh()
    return made


def ranked(release: Release, query_D: np.ndarray, metric: str, without: str = "") -> list[tuple[str, float]]:
    there = {name: v["raw_visual"] for name, v in release.videos.items() if v["raw_visual"] is not None}
    apart = cdist(query_D[None].astype(float), np.array(list(there.values()), float), metric)[0]
    scores = 1 - apart if metric == "cosine" else -apart
    pairs = zip(there, scores.tolist(), strict=True)
    return sorted(((name, score) for name, score in pairs if name != without), key=lambda pair: -pair[1])


def answer(release: Release, **fields: Any) -> RankedResults:  # noqa: ANN401
    request = parsed(RecommendRequest, {"space": "visual", **fields})
    check_request(release.live, request)
    return recommend(pinned(release.live), request)


def agree(found: RankedResults, expected: list[tuple[str, float]]) -> None:
    assert [result.video_id for result in found] == [name for name, _ in expected]
    np.testing.assert_allclose([result.score for result in found], [score for _, score in expected], atol=1e-4)


@pytest.mark.parametrize(("metric", "reference"), METRICS)
@pytest.mark.parametrize("video_id", ["a00", "a03", "new"])
def test_the_neighbours_of_a_video_are_those_of_brute_force(
    release: Release, metric: str, reference: str, video_id: str
) -> None:
    own = np.asarray(release.videos[video_id]["raw_visual"], np.float32)
    found = answer(release, video_id=video_id, metric=metric, top_k=20)
    agree(found, ranked(release, own, reference, video_id)[:20])


def test_a_vector_of_the_space_is_a_query_of_any_length(release: Release) -> None:
    query_D = np.array([3, -1, 0, 2, 4], np.float32)
    found = answer(release, embedding=query_D.tolist(), metric="l1", top_k=7)
    agree(found, ranked(release, query_D, "cityblock")[:7])
    uploaded = options_of(UploadQuery(space="visual"), pinned(release.live).config)
    by_file = by_vector(pinned(release.live), query_D, uploaded)
    agree(by_file, ranked(release, query_D, "cosine")[:10])


def test_filters_and_other_options_apply_in_a_space(release: Release) -> None:
    own = np.asarray(release.videos["a00"]["raw_visual"], np.float32)
    expected = [name for name, _ in ranked(release, own, "euclidean", "a00") if name.startswith("b")]
    query = {"video_id": "a00", "metric": "l2", "exclude": [expected[0]], "top_k": 5}
    for options in ({"filter": {"category": "b"}}, {"filter": {"not": {"category": "n"}}, "cross_category": True}):
        assert [found.video_id for found in answer(release, **query, **options)] == expected[1:6]


def test_a_query_in_a_space_is_never_answered_from_stored_neighbours(release: Release) -> None:
    options = options_of(parsed(RecommendRequest, {"video_id": "a00", "space": "visual"}), pinned(release.live).config)
    assert by_id_fast(release.live, "a00", options) is None


def test_what_a_space_lacks_is_named(release: Release) -> None:
    with pytest.raises(BadQuery, match=r"release.spaces.*rayreel index --version 1"):
        answer(release, video_id="a00", space="text")
    with pytest.raises(BadQuery, match="'silent' has no visual vector"):
        answer(release, video_id="silent")
    with pytest.raises(BadQuery, match="'a00' has no audio vector"):
        answer(release, video_id="a00", space="audio")
    with pytest.raises(BadQuery, match="5 numbers"):
        answer(release, embedding=[1.0, 2.0])


@pytest.mark.parametrize(
    "fields",
    [{"diversity": 0.5}, {"explain": True}, {"weights": {"visual": 1}}, {"space": None, "metric": Metric.L2}],
)
def test_options_of_the_release_embeddings_are_refused_with_a_space(fields: dict[str, Any]) -> None:
    with pytest.raises(BadQuery, match="space"):
        parsed(RecommendRequest, {"video_id": "a00", "space": "visual", **fields})
