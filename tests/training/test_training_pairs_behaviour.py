"""Pairs of what people watched, liked and passed over, without the bias of the position at which it was shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from feature_rows import feature_matrix, feature_row
from rayreel.catalog.interactions import BEHAVIOUR, SCHEMA, behaviour_schema, is_watched
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.users import before_cuts
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.losses.global_batch import FILLER
from rayreel.training.pairs.behaviour import Behaviour, BehaviourLog, PositionModel
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.plan import PairPlan
from rayreel.training.pairs.sources import Kind, PairsImpossible
from watching import START

VIDEOS = 40
MATRIX = feature_matrix(*(feature_row(f"v{n:02}", duration_s=100.0) for n in range(VIDEOS)))
ALL = np.ones(VIDEOS, bool)


@dataclass
class Seen:
    """A row of a log; `at` in seconds since START."""

    user: str
    video: int
    kind: str = "view"
    position: int | None = None
    propensity: float | None = None
    dwell_s: float | None = None
    at: float = 0.0


def log_of(rows: Sequence[Seen]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "user_id": row.user,
                "video_id": f"v{row.video:02}",
                "timestamp": START + timedelta(seconds=row.at),
                "type": row.kind,
                "position": row.position,
                "propensity": row.propensity,
                "dwell_s": row.dwell_s,
            }
            for row in rows
        ],
        schema=behaviour_schema(BEHAVIOUR),
    )


def behaviour_of(rows: Sequence[Seen], matrix: FeatureMatrix = MATRIX, **config: float) -> Behaviour:
    return Behaviour.of(log_of(rows), matrix, ALL, PairsConfig.model_validate({"behaviour": 1, **config}))


def lists_of_two_tastes(people: int = 300, *, first: float = 0.6) -> list[Seen]:
    """Lists of eight videos. Half of the people like even videos, half odd ones; the first is watched regardless."""
    rng, rows = np.random.default_rng(0), []
    appeal_V = rng.uniform(0.3, 0.9, VIDEOS)
    for number in range(people):
        seen = set[int]()
        for visit in range(6):
            # Popular videos come first.
            order = [int(video) for video in np.argsort(-(appeal_V + 0.2 * rng.normal(size=VIDEOS)))]
            for position, video in enumerate([video for video in order if video not in seen][:8]):
                chance = appeal_V[video] * (0.8 if video % 2 == number % 2 else 0.05) * 0.7**position
                watched = rng.random() < (first if position == 0 else chance)
                kind = "view" if watched else "impression"
                rows.append(Seen(f"u{number}", video, kind, position, at=3600.0 * visit + position))
                seen |= {video} if watched else set()
    return rows


LISTS = lists_of_two_tastes()


def agreeing(weights: NDArray[np.float64]) -> float:
    """The share of the weight of pairs that is between videos of the same taste."""
    same = np.arange(VIDEOS)[:, None] % 2 == np.arange(VIDEOS) % 2
    return float(weights[same].sum() / weights.sum())


def test_positions_are_told_apart_from_what_a_ranking_puts_there() -> None:
    log = BehaviourLog.of(log_of(lists_of_two_tastes(800, first=0.3)), MATRIX, ALL)
    found_P = PositionModel.fit(log).looked_at_P
    true_P = 0.7 ** np.arange(8)
    rows, watched = log.shown()
    by_position_P = np.bincount(log.position_R[rows], watched) / np.bincount(log.position_R[rows])
    ratios = [shares_P[1:] / shares_P[1] / (true_P[1:] / true_P[1]) for shares_P in (found_P, by_position_P)]
    off, naive = (float(np.abs(np.log(ratio_P)).max()) for ratio_P in ratios)
    assert off < 0.35 and off < naive


def test_a_view_weighs_more_where_few_look_up_to_a_maximum() -> None:
    shown = [
        Seen(f"u{n}", n % 4, "view" if n % 10 < wanted else "impression", position)
        for position, wanted in ((0, 8), (1, 2))
        for n in range(200)
    ]
    views = [Seen("ann", 10, "view", 0), Seen("ann", 11, "view", 1), Seen("ann", 12, "view")]
    for most, weight in ((10, 4.0), (2, 2.0), (1, 1.0)):
        found = behaviour_of([*shown, *views], max_debiasing=most)
        assert found.weight_R[-3:].tolist() == [1.0, pytest.approx(weight, rel=0.1), 1.0]


def test_a_view_weighs_more_if_it_was_unlikely_to_be_shown() -> None:
    found = behaviour_of(
        [Seen("ann", 0, propensity=0.25), Seen("ann", 1, propensity=1.0), Seen("ann", 2, propensity=1e-9)]
    )
    assert found.weight_R.tolist() == [4.0, 1.0, 10.0]


def test_likes_weigh_more_than_glimpses_and_what_was_refused_nothing() -> None:
    rows = [Seen("ann", 0), Seen("ann", 1, dwell_s=20.0), Seen("ann", 2), Seen("ann", 3), Seen("ben", 3)]
    rows += [Seen("ann", 2, "like", at=60), Seen("ann", 3, "dislike", at=60)]
    assert behaviour_of(rows).weight_R[:5].tolist() == pytest.approx([1.0, 0.2, 3.0, 0.0, 1.0])


def test_pairs_are_of_one_taste_although_the_first_result_is_watched_regardless() -> None:
    rows = [row for row in LISTS if row.kind == "view"]
    plain = behaviour_of([Seen(row.user, row.video, at=row.at) for row in rows])
    counted = agreeing(plain.edges(PairsConfig(max_debiasing=1)).toarray())
    assert agreeing(behaviour_of(LISTS).edges(PairsConfig()).toarray()) > counted > 0.5


def test_negatives_were_shown_and_passed_over_by_those_who_watched_the_other_video() -> None:
    skipped = behaviour_of(LISTS).skipped(PairsConfig())
    assert skipped.nnz and (skipped.data > 0).all() and not skipped.diagonal().any()
    assert agreeing(skipped.toarray()) < 0.25


def test_a_refusal_is_a_negative_without_any_position() -> None:
    rows = [Seen("ann", 0), Seen("ann", 1, "dislike"), Seen("ben", 0), Seen("ben", 2, "impression")]
    skipped = behaviour_of(rows).skipped(PairsConfig()).toarray()
    assert {tuple(place) for place in np.argwhere(skipped).tolist()} == {(0, 1)}


def test_a_plan_draws_pairs_and_negatives_of_training_videos_only() -> None:
    config = PairsConfig(views=0, behaviour=1, negatives="skipped", mined_per_pair=2)
    train = np.arange(0, 30)
    plan = PairPlan.of(MATRIX, train, config, None, log_of(LISTS))
    drawn = plan.draw(train, np.random.default_rng(0))
    assert drawn.negatives_J is not None and len(drawn.negatives_J) == 60
    assert np.isin(drawn.negatives_J, [*train, FILLER]).all() and (drawn.negatives_J != FILLER).mean() > 0.7
    assert np.isin(drawn.partners_J, train).all() and (drawn.kinds_J == Kind.BEHAVIOUR).mean() > 0.7
    assert (drawn.partners_J[drawn.kinds_J == Kind.BEHAVIOUR] != train[drawn.kinds_J == Kind.BEHAVIOUR]).all()


@pytest.mark.parametrize(
    ("config", "rows", "remedy"),
    [
        ({"behaviour": 1}, None, "--interactions FILE"),
        ({"behaviour": 1}, [Seen("ann", 0)], "pairs.behaviour"),
        ({"negatives": "skipped"}, [Seen("ann", 0), Seen("ann", 1)], "with impressions"),
    ],
)
def test_logs_that_say_too_little_are_refused(config: dict[str, object], rows: list[Seen] | None, remedy: str) -> None:
    with pytest.raises(PairsImpossible, match=remedy):
        PairPlan.of(MATRIX, np.arange(VIDEOS), PairsConfig.model_validate(config), None, rows and log_of(rows))


@pytest.mark.parametrize("cut", ["global", "per_user"])
def test_nothing_of_the_validation_period_or_later_is_learnt_from(cut: str) -> None:
    splits = SplitConfig.model_validate({"user_cut": cut, "before": START + timedelta(seconds=100_000)})
    rows = [Seen(f"u{n % 20}", n // 20, "view", at=500.0 * n) for n in range(400)]
    rows += [Seen(row.user, (row.video + 7) % VIDEOS, "impression", at=row.at + 1) for row in rows]
    table = log_of(rows)
    views = table.filter(is_watched(table)).select(SCHEMA.names)
    exam = Exam.of(MATRIX, splits, EvaluationConfig(), views)
    assert exam.users is not None
    kept = before_cuts(table, views, exam.users, splits)
    last = max(exam.users.training["timestamp"].to_pylist())
    if cut == "global":
        assert last <= max(kept["timestamp"].to_pylist()) <= last + timedelta(seconds=501)
    own = {user: max(row["timestamp"] for row in kept.to_pylist() if row["user_id"] == user) for user in ("u0", "u7")}
    for user, latest in own.items():
        mine = sorted(row.at for row in rows if row.user == user and row.kind == "view" and row.at < 100_000)
        limit = mine[-2] if cut == "per_user" else 100_000
        assert latest < START + timedelta(seconds=limit)
    assert len(kept) > 100
