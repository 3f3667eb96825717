import numpy as np
import pytest

from live_case import Release, pinned, random_options, random_video
from rayreel.index.filters import parse_filter
from rayreel.recommendation.candidates import Constraints, ExactSearch
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import by_vector
from rayreel.recommendation.snapshot_statistics import SnapshotStatistics


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Release:
    rng = np.random.default_rng(0)
    release = Release(tmp_path_factory.mktemp("large"), [random_video(rng, f"v{n:04}") for n in range(700)], 5)
    release.delete(*(f"v{n:04}" for n in range(0, 60, 2)))
    release.put(*(random_video(rng, f"v{n:04}") for n in range(690, 720)))
    release.refresh()
    return release


def test_exact_search_is_correct_for_any_number_of_results(large: Release) -> None:
    rng = np.random.default_rng(1)
    for top_k in (1, 10, 300, 700, 2000):
        options = Options(top_k)
        query = large.vector(str(rng.choice(list(large.videos))))
        large.agrees(by_vector(pinned(large.live), query, options), large.ranked(query, options), top_k)


def test_the_settings_decide_up_to_which_size_a_release_is_searched_exactly(large: Release) -> None:
    query, cells = large.vector("v0001"), large.live.embeddings_ND.size
    by_vector(pinned(large.live, exact_cells=cells), query, Options())
    with pytest.raises(AssertionError, match="searched the index"):
        by_vector(pinned(large.live, exact_cells=cells - 1), query, Options())


def test_a_filter_gives_the_same_results_with_and_without_cached_verdicts(large: Release) -> None:
    rng = np.random.default_rng(2)
    queries = [(rng.choice(list(large.videos)), random_options(rng, large.videos, across=False)) for _ in range(20)]
    for video_id, options in queries * 2:
        query = large.vector(video_id)
        large.agrees(by_vector(pinned(large.live), query, options), large.ranked(query, options), options.top_k)


def test_cached_verdicts_survive_changes_and_are_not_used_for_changed_videos(large: Release) -> None:
    options = Options(2000, parse_filter({"category": "sea"}))
    query = large.vector("v0001")
    before = large.live
    seas = {found.video_id for found in by_vector(pinned(before), query, options).results}
    moved = sorted(seas)[0]
    large.put({**large.videos[moved], "category": "sky"})
    after = large.refresh()
    assert {found.video_id for found in by_vector(pinned(after), query, options).results} == seas - {moved}
    assert {found.video_id for found in by_vector(pinned(before), query, options).results} == seas


def test_exact_search_never_returns_deleted_videos(large: Release) -> None:
    found = ExactSearch(large.live, large.vector("v0001")).nearest(10_000, Constraints())
    assert {large.live.row(place).video_id for place in found.places} == set(large.videos)


def test_category_sums_do_not_depend_on_the_chunk_size(large: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = SnapshotStatistics(large.live.snapshot)
    at_once_sums, at_once_mean = at_once.sums, at_once.mean_cosine
    monkeypatch.setattr("rayreel.recommendation.snapshot_statistics.CHUNK", 7)
    in_steps = SnapshotStatistics(large.live.snapshot)
    assert in_steps.sums.keys() == at_once_sums.keys() == {"sea", "sky", "city", ""}
    for category, total in at_once_sums.items():
        np.testing.assert_allclose(in_steps.sums[category], total, atol=1e-6)
    embeddings = np.asarray(large.live.snapshot.embeddings_ND)
    cosines = (embeddings @ embeddings.T)[np.triu_indices(len(embeddings), 1)]
    assert at_once_mean == pytest.approx(cosines.mean(), abs=1e-5)
