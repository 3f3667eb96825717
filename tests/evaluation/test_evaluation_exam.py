import numpy as np
import pytest

from feature_rows import feature_matrix, feature_row
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam, Part, Protocol
from rayreel.evaluation.users import Period, UserTask
from rayreel.features.matrix import FeatureMatrix
from watching import watched

SPLITS = SplitConfig(validation=0.25, test=0.25)
COUNT = 120


def catalog(seed: int) -> FeatureMatrix:
    """Sources with several videos, and copies of one file in several sources."""
    rng = np.random.default_rng(seed)
    return feature_matrix(
        *(
            feature_row(
                f"v{n:03}",
                category=f"c{n % 3}",
                tags=[f"t{rng.integers(6)}"],
                extra={"source": f"s{rng.integers(60)}"},
                content_hash=f"f{rng.integers(1000)}",
            )
            for n in range(COUNT)
        )
    )


def exam(seed: int = 0) -> Exam:
    rng = np.random.default_rng(seed)
    watches = [(f"u{rng.integers(60)}", f"v{rng.integers(COUNT):03}", float(rng.integers(10**6))) for _ in range(2000)]
    config = EvaluationConfig(co_watch_window_s=10_000)
    return Exam.of(catalog(seed), SPLITS, config, watched(*watches))


@pytest.mark.parametrize("seed", range(4))
def test_no_source_file_or_video_is_on_two_sides(seed: int) -> None:
    found = exam(seed)
    parts = [found.split.train, found.split.validation, found.split.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(COUNT)) and all(len(part) for part in parts)
    for column in ("extra", "content_hash", "video_id"):
        values = np.array(found.matrix.column(column))
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert not np.intersect1d(values[parts[one]], values[parts[other]]).size, column


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("seed", range(4))
def test_validation_uses_no_test_videos(seed: int, protocol: Protocol) -> None:
    found = exam(seed)
    task = found.task(protocol, "validation")
    assert task is not None
    assert not np.isin(task.candidates, found.split.test).any()
    if isinstance(task, UserTask):
        shown = np.concatenate([task.user_queries.targets_Q, task.user_queries.items])
        assert not np.isin(shown, found.split.test).any()
    else:
        assert np.isin(task.queries, found.split.validation).all()


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("protocol", [p for p in Protocol if p is not Protocol.USERS])
def test_queries_are_held_out_and_candidates_of_their_source_are_not_relevant(protocol: Protocol, part: Part) -> None:
    found = exam()
    task = found.task(protocol, part)
    assert task is not None and np.isin(task.queries, getattr(found.split, part)).all()
    groups = np.array(found.groups)
    relevant = task.relevant(task.queries).tocoo()
    assert relevant.nnz > 0
    assert not (groups[task.queries[relevant.coords[0]]] == groups[task.candidates[relevant.coords[1]]]).any()


def test_candidates_of_nearest_neighbours_are_training_videos() -> None:
    found = exam()
    task = found.task(Protocol.NEIGHBOURS, "test")
    assert task is not None and sorted(task.candidates.tolist()) == found.split.train.tolist()


def test_all_videos_are_candidates_for_users() -> None:
    task = exam().task(Protocol.USERS, "test")
    assert task is not None and sorted(task.candidates.tolist()) == list(range(COUNT))


def test_co_watch_validation_does_not_use_the_test_period() -> None:
    found = exam()
    task = found.task(Protocol.CO_WATCH, "validation")
    assert task is not None and found.users is not None
    earlier = found.users.views.only(found.users.periods < Period.TEST)
    pairs = set()
    for user in np.unique(earlier.users):
        own = earlier.users == user
        for row, second in zip(earlier.rows[own], earlier.seconds[own], strict=True):
            close = np.abs(earlier.seconds[own] - second) <= 10_000
            pairs |= {(int(row), int(other)) for other in earlier.rows[own][close]}
    right = task.relevant(task.queries).tocoo()
    assert right.nnz > 0
    assert {(int(task.queries[q]), int(task.candidates[c])) for q, c in zip(*right.coords, strict=True)} <= pairs


def test_videos_are_co_watched_only_from_the_configured_number_of_views_on() -> None:
    table = watched(*((user, video, 0) for user in ("u", "w") for video in ("v0", "v1")), ("u", "v2", 0))
    videos = feature_matrix(*(feature_row(f"v{n}") for n in range(3)))
    right = {
        views: Exam.of(videos, SplitConfig(validation=0, test=0.999), config, table).task(Protocol.CO_WATCH, "test")
        for views in (1, 2, 3)
        for config in [EvaluationConfig(co_watch_views=views)]
    }
    queries = {views: None if task is None else sorted(task.queries.tolist()) for views, task in right.items()}
    assert queries == {1: [0, 1, 2], 2: [0, 1], 3: None}


def test_protocols_without_data_have_no_task() -> None:
    bare = Exam.of(feature_matrix(*(feature_row(f"v{n}") for n in range(30))), SPLITS, EvaluationConfig())
    assert [bare.task(protocol, "test") for protocol in Protocol] == [None] * len(Protocol)
