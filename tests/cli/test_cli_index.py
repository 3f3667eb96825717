"""`rayreel index` on a small storage root: prepare, follow, compare and repair."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from feature_rows import KEY, feature_row, feature_table
from rayreel.cli.index import main
from rayreel.cli.steps.index import NothingServes
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.index.alias import switch_alias
from rayreel.index.config import IndexConfig
from rayreel.index.connect import connect
from rayreel.index.embedded import stop_embedded
from rayreel.index.write import delete, stored_versions
from rayreel.storage import Storage
from rayreel.training.tracking import use_tracking
from release_site import good_tower, register, store_of
from tracking_database import with_database

pytestmark = pytest.mark.usefixtures("ray_cluster")

RunIndex = Callable[..., dict[str, str]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """100 videos and a registered tower; nothing is promoted."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MILVUS_URI"):
        monkeypatch.setenv(name, "")  # MLflow sets some; patched here, they are restored
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    storage = with_database(tmp_path / "storage")
    use_tracking(storage)
    store_of(storage)
    register(storage, good_tower(), tmp_path / "tower")
    yield tmp_path / "storage"
    stop_embedded(tmp_path / "storage" / "milvus")
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.fixture
def run_index(root: Path, capsys: pytest.CaptureFixture[str]) -> RunIndex:
    """Run the command and return the numbers of its tables."""

    def run(**options: Any) -> dict[str, str]:  # noqa: ANN401
        capsys.readouterr()
        main(storage=str(root), **options)
        return dict(re.findall(r"^│ (.+?) +│ (.+?) +│$", capsys.readouterr().out, re.MULTILINE))

    return run


def test_index_follows_the_store_and_with_verify_repairs_differences(root: Path, run_index: RunIndex) -> None:
    with pytest.raises(NothingServes, match="`rayreel promote`"):
        run_index()
    first = run_index(version="1")
    assert (first["new"], first["videos in the release"]) == ("100", "100") and first["snapshot"].startswith("snapshot")
    client, config = connect(IndexConfig(), root / "milvus"), IndexConfig()
    switch_alias(client, config.alias, "videos_v1")

    store = FeatureStore(Storage(root), KEY)
    store.add(feature_table(feature_row("new"), feature_row("v001", version="2")), QUARANTINE.empty_table())
    store.amend(added=[("new", "1"), ("v001", "2")], deleted=["v000"])
    then = run_index()
    assert [then[name] for name in ("new", "changed", "deleted", "videos in the release")] == ["1", "1", "1", "100"]
    assert then["snapshot"] == "unchanged"

    delete(client, "videos_v1", ["v002", "v003"], config)
    store.amend(deleted=["v004"])
    found = run_index(repair=True)
    assert [found[f"index: {name}"] for name in ("missing", "stale", "surplus")] == ["2", "0", "0"]
    assert (found["rows: surplus"], found["deleted"]) == ("1", "1")
    stored = stored_versions(client, "videos_v1", config)
    assert len(stored) == 99 and stored["v001"] == "2" and "v004" not in stored
