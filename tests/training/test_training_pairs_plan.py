import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from feature_rows import clusters, feature_matrix, feature_row
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.losses.global_batch import FILLER
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.plan import DrawnPairs, PairPlan
from rayreel.training.pairs.sources import Kind, PairsImpossible
from watching import watched

CATALOG = clusters(categories=4, each=25)
TRAIN = np.array([n for n in range(100) if n % 5])
"""Rows of all four categories; v000, v005, … are held out."""
LABELLED = np.array([int(name[1:]) for name in CATALOG.column("category")])


def plan_of(
    config: PairsConfig, interactions: pa.Table | None = None, matrix: FeatureMatrix = CATALOG, **more: bool
) -> PairPlan:
    return PairPlan.of(matrix, training(matrix), config, interactions, **more)


def training(matrix: FeatureMatrix) -> NDArray[np.int64]:
    return TRAIN[np.isin(TRAIN, np.arange(len(matrix)))]


def draws(plan: PairPlan, times: int = 50) -> DrawnPairs:
    rng = np.random.default_rng(0)
    parts = [plan.draw(plan.train_rows, rng) for _ in range(times)]
    return DrawnPairs(np.stack([p.partners_J for p in parts]), np.stack([p.kinds_J for p in parts]), None)


def neighbours_watched(rating: float | None = None) -> pa.Table:
    """One user per video, who watches it, the video four rows later, of the same category, and a held-out one."""
    return watched(
        *((f"u{n}", f"v{m:03}", float(place)) for n in range(96) for place, m in enumerate((n, n + 4, n // 5 * 5))),
        rating=rating,
    )


def embeddings() -> NDArray[np.float32]:
    random = np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    return random


def test_by_default_pairs_are_two_views_of_one_video() -> None:
    drawn = plan_of(PairsConfig()).draw(TRAIN, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn.partners_J, TRAIN)
    assert set(drawn.kinds_J.tolist()) == {Kind.VIEWS}
    assert drawn.negatives_J is None


MIXED = PairsConfig(views=1, co_watched=1, label=1, co_liked=1, cross_modal=1, noise=1, negatives="mined")


def test_only_training_rows_are_drawn() -> None:
    plan = plan_of(MIXED, neighbours_watched(rating=5.0))
    plan.mine(embeddings())
    rng = np.random.default_rng(0)
    for _ in range(30):
        drawn = plan.draw(rng.permutation(TRAIN), rng)
        assert drawn.negatives_J is not None
        assert np.isin(drawn.partners_J, TRAIN).all()
        assert np.isin(drawn.negatives_J, [*TRAIN, FILLER]).all()
        assert (drawn.negatives_J != FILLER).any()


def test_sources_are_drawn_in_proportion_to_their_weight() -> None:
    kinds = draws(plan_of(PairsConfig(views=1, label=2, noise=5))).kinds_J
    shares = np.bincount(kinds.ravel(), minlength=6) / kinds.size
    np.testing.assert_allclose(shares, [1 / 8, 0, 0, 2 / 8, 0, 5 / 8], atol=0.02)


def test_an_anchor_draws_from_the_sources_that_have_a_partner_for_it() -> None:
    matrix = feature_matrix(*(feature_row(f"v{n}", category="c" if n < 4 else f"alone {n}") for n in range(8)))
    plan = plan_of(PairsConfig(views=0, label=1, noise=1), matrix=matrix)
    drawn = draws(plan, 200)
    in_category = plan.train_rows < 4
    labelled = drawn.kinds_J[:, in_category]
    assert (labelled == Kind.LABEL).mean() == pytest.approx(0.5, abs=0.05)
    assert set(drawn.kinds_J[:, ~in_category].ravel().tolist()) == {Kind.NOISE}


def test_an_anchor_without_any_partner_falls_back_on_two_views() -> None:
    matrix = feature_matrix(*(feature_row(f"v{n}", category="c" if n < 4 else "") for n in range(8)))
    drawn = plan_of(PairsConfig(views=0, label=1), matrix=matrix).draw(np.array([1, 6]), np.random.default_rng(0))
    assert drawn.kinds_J.tolist() == [Kind.LABEL, Kind.VIEWS]
    assert drawn.partners_J[1] == 6


def test_label_partners_are_other_videos_of_the_anchors_label() -> None:
    partners = draws(plan_of(PairsConfig(views=0, label=1))).partners_J
    assert (LABELLED[partners] == LABELLED[TRAIN]).all()
    assert (partners != TRAIN).all()


def test_co_watched_partners_were_watched_with_the_anchor() -> None:
    drawn = draws(plan_of(PairsConfig(views=0, co_watched=1), neighbours_watched()))
    found = drawn.kinds_J == Kind.CO_WATCHED
    assert found.mean() > 0.9
    assert (np.abs(drawn.partners_J - TRAIN)[found] == 4).all()


def test_cross_modal_pairs_need_text_and_images_or_audio() -> None:
    rows = [feature_row("v0"), feature_row("v1", text=False), feature_row("v2", frames=0), feature_row("v3")]
    rows += [feature_row("v4", frames=0, windows=0)]
    plan = plan_of(PairsConfig(views=0, cross_modal=1), matrix=feature_matrix(*rows))
    drawn = plan.draw(np.array([1, 2, 3, 4]), np.random.default_rng(0))
    assert drawn.kinds_J.tolist() == [Kind.VIEWS, Kind.CROSS_MODAL, Kind.CROSS_MODAL, Kind.VIEWS]


def test_draws_depend_on_the_generator_only() -> None:
    plan = plan_of(MIXED, neighbours_watched(rating=5.0))
    plan.mine(embeddings())
    one, two, other = (plan.draw(TRAIN, np.random.default_rng(seed)) for seed in (7, 7, 8))
    for first, second in ((one.partners_J, two.partners_J), (one.kinds_J, two.kinds_J)):
        np.testing.assert_array_equal(first, second)
    assert one.negatives_J is not None and two.negatives_J is not None
    np.testing.assert_array_equal(one.negatives_J, two.negatives_J)
    assert (one.partners_J != other.partners_J).any()


def test_fillers_stay_fillers_and_do_not_change_other_draws() -> None:
    plan = plan_of(MIXED.model_copy(update={"mined_per_pair": 2}), neighbours_watched(rating=5.0))
    plan.mine(embeddings())
    places = np.array([0, 2, 3, 6])
    padded = np.full(8, FILLER)
    padded[places] = TRAIN[:4]
    plain, spread = (plan.draw(anchors, np.random.default_rng(3)) for anchors in (TRAIN[:4], padded))
    assert plain.negatives_J is not None
    assert spread.negatives_J is not None
    negatives = spread.negatives_J.reshape(8, 2)
    np.testing.assert_array_equal(spread.partners_J[places], plain.partners_J)
    np.testing.assert_array_equal(negatives[places], plain.negatives_J.reshape(4, 2))
    for values in (spread.partners_J, spread.kinds_J, negatives):
        assert (np.delete(values, places, axis=0) == FILLER).all()


def test_an_anchor_outside_the_training_rows_is_rejected() -> None:
    with pytest.raises(ValueError, match="training rows"):
        plan_of(PairsConfig()).draw(np.array([0, 1]), np.random.default_rng(0))


def test_log_q_matches_how_often_rows_are_drawn_as_partners() -> None:
    popular = watched(*((f"u{n}", f"v{m:03}", float(n)) for n in TRAIN for m in {n, 1}))
    plan = plan_of(PairsConfig(views=1, co_watched=2, label=1), popular)
    partners = draws(plan, 2000).partners_J
    found = np.bincount(partners.ravel(), minlength=100) / partners.size
    np.testing.assert_allclose(np.exp(plan.log_q_N[TRAIN]), found[TRAIN], rtol=0.2)
    assert np.exp(plan.log_q_N[TRAIN]).sum() == pytest.approx(1, abs=1e-4)
    assert found[1] > 10 * np.median(found)
    assert np.isfinite(plan.log_q_N).all()


def alike(plan: PairPlan, x: int, y: int) -> bool:
    return bool(plan.alike(torch.tensor([x]), torch.tensor([y])).item())


def test_copies_of_a_file_are_alike() -> None:
    matrix = feature_matrix(*(feature_row(f"v{n}", content_hash=f"sha{n // 2}") for n in range(6)))
    plan = plan_of(PairsConfig(), matrix=matrix)
    assert alike(plan, 2, 3)
    assert not alike(plan, 1, 2)


def test_pairs_of_a_source_are_alike_only_if_it_has_a_weight() -> None:
    watches = neighbours_watched(rating=5.0)
    views, co_watch, label = (
        plan_of(PairsConfig(**weights), watches) for weights in ({}, {"co_watched": 1}, {"label": 1})
    )
    assert [alike(plan, 1, 5 + 4) for plan in (views, co_watch, label)] == [False, False, True]
    assert [alike(plan, 2, 6) for plan in (views, co_watch, label)] == [False, True, True]
    assert [alike(plan, 1, 2) for plan in (views, co_watch, label)] == [False, False, False]


def test_every_partner_is_alike_to_its_anchor() -> None:
    plan = plan_of(MIXED, neighbours_watched(rating=5.0))
    for partners in draws(plan, 10).partners_J:
        found = plan.alike(torch.from_numpy(TRAIN), torch.from_numpy(partners))
        assert found.diagonal().all()


def test_labels_matter_makes_a_category_alike_without_a_weight() -> None:
    plan = plan_of(PairsConfig(), labels_matter=True)
    assert alike(plan, 1, 9)
    assert not alike(plan, 1, 2)


def test_only_co_liked_pairs_require_distinct_negatives() -> None:
    assert plan_of(PairsConfig(label=1)).distinct is None
    matrix = clusters(categories=4, each=5)
    plan = plan_of(PairsConfig(co_liked=1), neighbours_watched(rating=4.0), matrix=matrix)
    assert plan.distinct is not None
    assert plan.distinct(torch.tensor([1]), torch.tensor([2, 5])).tolist() == [[True, False]]


def test_co_liked_partners_overlap_and_are_liked_by_one_user() -> None:
    drawn = draws(plan_of(PairsConfig(views=0, co_liked=1), neighbours_watched(rating=4.0)))
    found = drawn.kinds_J == Kind.CO_LIKED
    assert found.mean() > 0.9
    assert (np.abs(drawn.partners_J - TRAIN)[found] == 4).all()


def test_mined_negatives_are_near_and_not_alike() -> None:
    plan = plan_of(PairsConfig(label=1, negatives="mined", mined_from_rank=2, mined_to_rank=8))
    vectors = embeddings()
    plan.mine(vectors)
    drawn = plan.draw(TRAIN, np.random.default_rng(0))
    assert drawn.negatives_J is not None
    assert (LABELLED[drawn.negatives_J] != LABELLED[TRAIN]).all()
    near = (vectors[TRAIN] * vectors[drawn.negatives_J]).sum(axis=1)
    others = np.where(LABELLED[TRAIN] == LABELLED[TRAIN][:, None], -1, vectors[TRAIN] @ vectors[TRAIN].T)
    assert (near <= np.sort(others, axis=1)[:, -3] + 1e-6).all()
    assert (near >= np.sort(others, axis=1)[:, -8] - 1e-6).all()


def test_mined_negatives_follow_the_embeddings_and_are_filler_before_mining() -> None:
    plan = plan_of(PairsConfig(negatives="mined", mined_per_pair=3))
    before = plan.draw(TRAIN, np.random.default_rng(0)).negatives_J
    assert before is not None
    assert before.tolist() == [FILLER] * 3 * len(TRAIN)
    plan.mine(embeddings())
    first = plan.draw(TRAIN, np.random.default_rng(0)).negatives_J
    plan.mine(embeddings()[::-1].copy())
    second = plan.draw(TRAIN, np.random.default_rng(0)).negatives_J
    assert first is not None
    assert (first != FILLER).all()
    assert (first != second).any()


@pytest.mark.parametrize(
    ("weights", "interactions", "remedy"),
    [
        ({"co_watched": 1}, None, "--interactions FILE"),
        ({"co_watched": 1}, watched(("ann", "v1", 0)), "co_watch_window_s"),
        ({"co_watched": 1}, watched(("ann", "v0", 0), ("ann", "v1", 0)), "co_watch_window_s"),
        ({"co_liked": 1}, None, "--interactions FILE"),
        ({"co_liked": 1}, watched(("ann", "v1", 0), ("ann", "v2", 0)), "`rating` column"),
        ({"co_liked": 1}, watched(("ann", "v1", 0), ("ann", "v2", 0), rating=3.0), r"Lower pairs\.min_rating"),
        ({"label": 1}, None, "`category` column"),
        ({"cross_modal": 1}, None, "Extract text features"),
        ({"negatives": "mined"}, None, "mined_from_rank"),
    ],
)
def test_a_source_without_pairs_is_rejected_with_a_remedy(
    weights: dict[str, float], interactions: pa.Table | None, remedy: str
) -> None:
    matrix = feature_matrix(*(feature_row(f"v{n}", text=False, category=f"c{n}") for n in range(4)))
    with pytest.raises(PairsImpossible, match=remedy) as problem:
        plan_of(PairsConfig(**weights), interactions, matrix)
    assert next(iter(weights)) in str(problem.value)


def test_anchors_by_watches_are_drawn_in_proportion_to_their_watches() -> None:
    watches = watched(*((f"u{n}", video, 10.0 * n) for n in range(30) for video in ("v001", f"v{n + 10:03}")))
    plan = plan_of(PairsConfig(anchors="watches", views=1), watches)
    assert plan.anchor_T is not None
    chances = dict(zip(TRAIN.tolist(), plan.anchor_T.tolist(), strict=True))
    assert plan.anchor_T.sum() == pytest.approx(1)
    assert chances[1] == pytest.approx(30 * chances[11]) and chances[2] == 0
    assert np.exp(plan.log_q_N[1]) == pytest.approx(chances[1], rel=1e-5)


def test_anchors_by_watches_without_watches_are_rejected_with_a_remedy() -> None:
    with pytest.raises(PairsImpossible, match="--interactions"):
        plan_of(PairsConfig(anchors="watches"))
