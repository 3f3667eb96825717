"""The examples of docstrings run and show what they say."""

import doctest
import importlib
import os
from pathlib import Path

import pytest

import rayreel
from feature_rows import KEY, clusters_table
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.release.rows import ReleaseRows
from rayreel.release.snapshot import write_snapshot
from rayreel.storage import Storage
from release_rows import release_row, release_table

PACKAGE = Path(rayreel.__file__).parent
VIDEOS = 48
# The examples of rayreel.api train and promote: the notebook of the documentation runs them.
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text() and path != PACKAGE / "api.py"
)
ENTRY_POINTS = (
    "rayreel.access.keys.Keyring",
    "rayreel.access.keys.new_key",
    "rayreel.access.rate.TokenBucket",
    "rayreel.catalog.interactions.read_interactions",
    "rayreel.catalog.moments.read_moment",
    "rayreel.catalog.read.read_catalog",
    "rayreel.client.Client",
    "rayreel.deadline.Deadline",
    "rayreel.evaluation.metrics.average_precision",
    "rayreel.evaluation.metrics.hit_rate",
    "rayreel.evaluation.metrics.mrr",
    "rayreel.evaluation.metrics.ndcg",
    "rayreel.evaluation.metrics.precision",
    "rayreel.evaluation.metrics.recall",
    "rayreel.evaluation.resampling.holm",
    "rayreel.evaluation.resampling.intervals",
    "rayreel.evaluation.resampling.p_values",
    "rayreel.evaluation.splits.split_groups",
    "rayreel.evaluation.splits.split_named",
    "rayreel.features.matrix.FeatureMatrix",
    "rayreel.features.store.FeatureStore",
    "rayreel.index.filters.matches",
    "rayreel.index.filters.parse_filter",
    "rayreel.index.filters.to_milvus",
    "rayreel.recommendation.results.select_diverse",
    "rayreel.recommendation.live.load_live",
    "rayreel.recommendation.recommend.recommend",
    "rayreel.redact.public_address",
    "rayreel.redact.redacted",
    "rayreel.settings.load_settings",
    "rayreel.storage.Storage",
    "rayreel.tower.embed.embed",
    "rayreel.tower.embed.embed_query",
    "rayreel.tower.losses.contrastive.Contrastive",
    "rayreel.tower.losses.infonce.InfoNCE",
    "rayreel.tower.losses.make.make_loss",
    "rayreel.tower.losses.supcon.SupCon",
    "rayreel.tower.losses.triplet.Triplet",
    "rayreel.tower.tower.VideoTower",
)


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder has a storage root `demo` with features and a release, and no RAYREEL_ variable is set."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("RAYREEL_")]:
        monkeypatch.delenv(name)
    storage = Storage("demo")
    store, table = FeatureStore(storage, KEY), clusters_table(4, VIDEOS // 4)
    store.create()
    store.add(table, QUARANTINE.empty_table())
    store.set_catalog([(row["video_id"], row["version"]) for row in table.select(["video_id", "version"]).to_pylist()])
    rows = ReleaseRows(storage, 1)
    rows.add(release_table(*(release_row(f"v{n:02}", category=f"c{n % 4}") for n in range(VIDEOS))))
    write_snapshot(storage, rows, neighbours=8)


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted and not found.failed


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_every_public_entry_point_has_an_example(name: str) -> None:
    module, _, member = name.rpartition(".")
    assert ">>> " in getattr(importlib.import_module(module), member).__doc__
