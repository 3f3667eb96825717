"""Recipes: what the data have decides pairs, loss and learning rate; what is set explicitly is kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from feature_rows import KEY, feature_row, feature_table
from rayreel.catalog.interactions import SCHEMA
from rayreel.evaluation.config import SplitConfig
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.losses.config import LossConfig
from rayreel.training.config import TrainConfig
from rayreel.training.job import TrainJob
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.recipe import LABELS, VIEWS, WITH_INTERACTIONS, PairRecipe, with_recipe

IDS = [f"v{n:02}" for n in range(40)]


def job(folder: Path, categories: list[str], **parts: object) -> TrainJob:
    store = FeatureStore(Storage(folder), KEY)
    store.create()
    rows = [feature_row(video_id, category=c) for video_id, c in zip(IDS, categories, strict=True)]
    store.add(feature_table(*rows), QUARANTINE.empty_table())
    store.set_catalog([(video_id, "1") for video_id in IDS])
    splits = SplitConfig(validation=0.2, test=0.2)
    return TrainJob(store.storage.root, KEY, store.fingerprint(), splits=splits, **parts)  # type: ignore[arg-type]


def watched(same_day: bool) -> pa.Table:
    """Ten users with five views each; on one day, or months apart."""
    start, step = datetime(2026, 1, 1, tzinfo=UTC), timedelta(minutes=5) if same_day else timedelta(days=90)
    rows = [
        {"user_id": f"u{user}", "video_id": IDS[(7 * user + 3 * view) % 40], "timestamp": start + view * step}
        for user in range(10)
        for view in range(5)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


LABELLED = [f"c{n % 4}" for n in range(40)]
ALONE = [f"c{n}" for n in range(40)]


@pytest.mark.parametrize(
    ("categories", "interactions", "expected"),
    [
        (LABELLED, None, LABELS),
        (ALONE, None, VIEWS),
        ([""] * 40, None, VIEWS),
        (LABELLED, watched(same_day=True), WITH_INTERACTIONS[0]),
        (ALONE, watched(same_day=True), WITH_INTERACTIONS[1]),
        (LABELLED, watched(same_day=False), LABELS),
    ],
)
def test_the_first_recipe_whose_pairs_the_data_have_is_chosen(
    tmp_path: Path, categories: list[str], interactions: pa.Table | None, expected: PairRecipe
) -> None:
    chosen, recipe = with_recipe(job(tmp_path, categories, interactions=interactions))
    assert recipe is expected and recipe.worthwhile is (recipe is not VIEWS)
    assert (chosen.pairs, chosen.loss) == (expected.pairs, expected.loss)
    assert chosen.train.learning_rate == expected.learning_rate


@pytest.mark.parametrize(
    "parts",
    [
        {"train": TrainConfig(recipe="tower")},
        {"pairs": PairsConfig(cross_modal=1)},
        {"loss": LossConfig(kind="triplet")},
    ],
)
def test_what_is_set_is_trained(tmp_path: Path, parts: dict[str, object]) -> None:
    given = job(tmp_path, LABELLED, **parts)
    chosen, recipe = with_recipe(given)
    assert chosen == given and recipe.worthwhile
    assert (recipe.pairs, recipe.loss, recipe.learning_rate) == (given.pairs, given.loss, given.train.learning_rate)


def test_a_learning_rate_that_is_set_is_kept(tmp_path: Path) -> None:
    chosen, _ = with_recipe(job(tmp_path, LABELLED, train=TrainConfig(learning_rate=0.02)))
    assert chosen.train.learning_rate == 0.02
    assert chosen.pairs == LABELS.pairs
