"""Planted: does a tower find what is planted, and how does it stand beside content baselines and oracles?"""

import tempfile

import numpy as np

from benchmarks.standings import AT, Standings, standings
from benchmarks.variants import Given, train_variants
from benchmarks.world import BEGIN, DAY_S, World, WorldConfig, store_world
from rayreel.cli.output import step
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.methods import Make, baselines, towers
from rayreel.evaluation.scorers import Answer, Rows
from rayreel.evaluation.users import Period
from rayreel.features.matrix import FeatureMatrix
from rayreel.storage import Storage

FOUND = (
    "train.workers=1",
    "train.epochs=60",
    "train.batch_size=512",
    "train.learning_rate=0.003",
    "train.select=users",
    "tower.dim=128",
    "pairs.co_watch_window_s=864000",
)
"""Settings that did well on the validation views of such worlds; the test had no say."""

UNTAUGHT, TAUGHT = "tower, two views", "tower, co-watched"
TOWERS = {UNTAUGHT: ("pairs.views=1", "pairs.co_watched=0"), TAUGHT: ("pairs.views=0", "pairs.co_watched=1")}
ITEMS_KNOWN, ALL_KNOWN = "oracle: videos' taste", "oracle: users' taste too"
NO_CONTENT = {"random", "popularity", "item-kNN", "matrix factorisation", TAUGHT, ITEMS_KNOWN, ALL_KNOWN}


def measure_planted(config: WorldConfig, given: Given) -> Standings:
    """Make a world, train a tower with its views and one without, and put all methods to the test."""
    variants = {name: given.over([*FOUND, *own]) for name, own in TOWERS.items()}
    settings = variants[TAUGHT]
    step(f"Making {config.videos} videos, {config.users} users and their views")
    world = World(config)
    with tempfile.TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
        store, views = store_world(world, Storage(folder)), world.interactions()
        trained = train_variants(variants, store, views)
        matrix = FeatureMatrix.from_table(store.read())
    exam = Exam.of(matrix, settings.splits, settings.evaluation, views)
    found = {name: towers(variant.tower, matrix) for name, variant in trained.items()}
    return standings(exam, {**baselines(trained[TAUGHT].tower, exam), **found, **oracles(world, exam)})


def oracles(world: World, exam: Exam) -> dict[str, Make]:
    """What knows the taste: of the videos, asked like a tower; and of the users too, at the very moment they choose.

    The second ranks by the chances that made the views: nothing is better in the long run, once all videos are there.
    """
    assert exam.users is not None
    views = exam.users.views
    last = np.flatnonzero(np.diff(views.users, append=-1))
    last = last[exam.users.periods[last] == Period.TEST]
    assert np.array_equal(views.rows[last], exam.users.test.targets_Q)
    moments_Q = (views.seconds[last] - BEGIN.timestamp()) / DAY_S / world.config.days

    def by_appeal(candidates: Rows) -> Answer:
        return lambda queries: world.appeal(views.users[last][queries], moments_Q[queries])[:, candidates]

    return {
        ITEMS_KNOWN: lambda: lambda task: task.by(world.taste_VK),
        ALL_KNOWN: lambda: lambda _: by_appeal,
    }


def verdict(found: Standings, part: str) -> str:
    """The taught tower beside the best of what sees content alone, and as a share of the oracles."""
    best = found.best(found.scores.keys() - NO_CONTENT, part)
    return (
        f"{part}: {TAUGHT} has {found.ratio(TAUGHT, best, part):.1f} x the nDCG@{AT} of the best content baseline "
        f"({best}), {found.ratio(TAUGHT, ITEMS_KNOWN, part):.0%} of the oracle that knows the videos' taste and "
        f"{found.ratio(TAUGHT, ALL_KNOWN, part):.0%} of the one that knows the users' too"
    )
