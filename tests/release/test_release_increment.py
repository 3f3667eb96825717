"""Updates of a serving release from its feature store, in bulk and one video at a time."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray

from feature_rows import feature_row, feature_table
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore, open_store
from rayreel.index.embedded import NAMESPACE
from rayreel.index.write import stored_versions
from rayreel.release import registry
from rayreel.release.embed import embed_table
from rayreel.release.fill import verify
from rayreel.release.increment import Brought, Writer, bring_up_to_date
from rayreel.release.promote import promote
from rayreel.release.rows import embeddings, tombstones
from rayreel.release.site import Candidate, Site
from rayreel.release.snapshot import load_snapshot, snapshot_pointer
from rayreel.tower.config import Smoothing
from rayreel.tower.embed import embed
from rayreel.tower.smoothing import smoothed
from release_site import VIDEOS

WRITES = """
import sys
from feature_rows import KEY, feature_row, feature_table
from rayreel.features.store import FeatureStore
from rayreel.index.config import IndexConfig
from rayreel.index.connect import connect
from rayreel.release import registry
from rayreel.release.embed import embed_table
from rayreel.release.increment import Writer
from rayreel.release.rows import ReleaseRows
from rayreel.storage import Storage
from rayreel.training.tracking import use_tracking

root, uri = sys.argv[1:]
index, storage = IndexConfig(uri=uri), Storage(root)
use_tracking(storage)
tower = registry.load(registry.resolve("2"))
writer = Writer(FeatureStore(storage, KEY), ReleaseRows(storage, 2), connect(index, None), index)
for number in range(10_000):
    features = feature_table(feature_row(f"new{number}"))
    writer.add(features, embed_table(tower, features))
    print(f"new{number}", flush=True)
"""


@pytest.fixture
def release(site: Site) -> Candidate:
    """Version 2, which serves 100 videos."""
    promote(registry.resolve("2"), site)
    return Candidate(registry.resolve("2"), site)


@pytest.fixture
def store(release: Candidate) -> FeatureStore:
    return open_store(release.site.storage, release.version.encoder_key)


@pytest.fixture
def writer(release: Candidate, store: FeatureStore) -> Writer:
    return Writer(store, release.rows, release.site.client, release.site.index)


def in_the_index(release: Candidate) -> dict[str, str]:
    return stored_versions(release.site.client, release.collection, release.site.index)


def in_the_store(store: FeatureStore) -> dict[str, str]:
    rows = store.read(["video_id", "version"])
    return dict(zip(rows["video_id"].to_pylist(), rows["version"].to_pylist(), strict=True))


def owner_pid(uri: str) -> int:
    """Return the pid of the Milvus Lite server at this address."""
    for named in ray.util.list_named_actors(all_namespaces=True):
        if named["name"].startswith("milvus-lite-"):
            owner = ray.get_actor(named["name"], namespace=NAMESPACE)
            if ray.get(owner.location.remote())[0] == uri:
                return int(ray.get(owner.__ray_call__.remote(lambda _: os.getpid())))
    raise LookupError(uri)


def add(writer: Writer, release: Candidate, *video_ids: str, version: str = "1") -> None:
    features = feature_table(*(feature_row(video_id, version=version) for video_id in video_ids))
    writer.add(features, embed_table(release.tower, features))


def test_new_changed_and_deleted_videos_reach_the_serving_release(release: Candidate, store: FeatureStore) -> None:
    store.add(feature_table(feature_row("new"), feature_row("v001", version="2")), QUARANTINE.empty_table())
    kept = [("new", "1"), ("v001", "2"), *((f"v{n:03}", "1") for n in range(2, 100))]
    store.set_catalog(kept)
    assert bring_up_to_date(release) == Brought(1, 1, 1, 0, 100, None)
    assert in_the_index(release) == release.rows.current() == dict(kept)
    assert bring_up_to_date(release) == Brought(0, 0, 0, 0, 100, None)
    hits = release.index.search(release.index.vectors(["new"])["new"], 1)
    assert hits[0].video_id == "new" and release.site.serving() == 2


def test_a_snapshot_is_written_after_many_changes_or_on_request(
    release: Candidate, store: FeatureStore, tmp_path: Path
) -> None:
    first = snapshot_pointer(store.storage, 2)
    assert first is not None
    more = 1 + release.site.release.overlay_rows
    store.amend(deleted=["v000"])
    assert bring_up_to_date(release).snapshot is None and snapshot_pointer(store.storage, 2) == first
    requested = bring_up_to_date(release, snapshot=True).snapshot
    assert requested == load_snapshot(store.storage, 2, tmp_path).name and requested != first["name"]
    store.amend(deleted=[f"v{n:03}" for n in range(1, 1 + more)])
    done = bring_up_to_date(release)
    snapshot = load_snapshot(store.storage, 2, tmp_path)
    assert done.snapshot == snapshot.name != requested
    assert len(snapshot) == 99 - more
    assert len(release.rows.read(after=snapshot.upto)) == 0


def test_an_added_video_is_in_store_rows_and_index_immediately(
    release: Candidate, store: FeatureStore, writer: Writer
) -> None:
    add(writer, release, "new", "newer")
    add(writer, release, "v000", version="2")
    expected = dict.fromkeys(VIDEOS["video_id"].to_pylist(), "1") | {"new": "1", "newer": "1", "v000": "2"}
    assert in_the_store(store) == release.rows.current() == in_the_index(release) == expected
    assert bring_up_to_date(release) == Brought(0, 0, 0, 0, 102, None)


def test_delete_returns_existing_ids_and_no_catalog_restores_them(
    release: Candidate, store: FeatureStore, writer: Writer
) -> None:
    add(writer, release, "new")
    assert writer.delete(["new", "v000", "never there"]) == ["new", "v000"]
    assert writer.delete(["new", "v000"]) == []
    assert not {"new", "v000"} & (
        in_the_store(store).keys() | release.rows.current().keys() | in_the_index(release).keys()
    )
    store.set_catalog([("v000", "1"), ("v001", "1")])
    bring_up_to_date(release)
    assert in_the_index(release) == {"v001": "1"}
    add(writer, release, "v000")
    assert in_the_index(release) == {"v000": "1", "v001": "1"}


def test_a_writer_sees_what_other_writers_wrote(release: Candidate, store: FeatureStore, writer: Writer) -> None:
    assert writer.delete(["new"]) == []
    add(Writer(store, release.rows, release.site.client, release.site.index), release, "new")
    assert writer.delete(["new"]) == ["new"]


def test_changes_of_a_smoothed_release_are_averaged_at_once_and_exactly_by_the_next_update(
    site: Site, tmp_path: Path
) -> None:
    smoothing = Smoothing(neighbours=3)
    site = replace(site, release=site.release.model_copy(update={"smoothing": smoothing}))
    promote(registry.resolve("2"), site)
    release = Candidate(registry.resolve("2"), site)
    writer = Writer(release.store, release.rows, site.client, site.index)
    add(writer, release, "new")
    writer.delete(["v000"])
    table = release.rows.read().rows
    own_ND = embed(release.tower, FeatureMatrix.from_table(release.store.read()))
    exact_ND = smoothed(own_ND, smoothing)
    place = table["video_id"].to_pylist().index("new")
    assert embeddings(table)[place] @ exact_ND[place] > own_ND[place] @ exact_ND[place]
    bring_up_to_date(release, snapshot=True)
    table = release.rows.read().rows
    np.testing.assert_allclose(embeddings(table), exact_ND, atol=1e-5)
    np.testing.assert_allclose(load_snapshot(site.storage, 2, tmp_path).embeddings_ND, exact_ND, atol=1e-5)
    ids = table["video_id"].to_pylist()
    in_index = release.index.vectors(ids)
    np.testing.assert_allclose([in_index[video_id] for video_id in ids], exact_ND, atol=1e-5)


def test_a_write_killed_between_store_and_rows_is_embedded_later(release: Candidate, store: FeatureStore) -> None:
    store.add(feature_table(feature_row("new")), QUARANTINE.empty_table())
    store.amend(added=[("new", "1")])  # killed here
    assert bring_up_to_date(release).new == 1
    assert "new" in in_the_index(release)


def test_a_write_killed_between_rows_and_index_is_indexed_by_the_next_write(release: Candidate, writer: Writer) -> None:
    release.rows.add(tombstones(["v000"]))  # killed here
    add(writer, release, "new")
    assert "v000" not in in_the_index(release) and "new" in in_the_index(release)


@pytest.mark.slow
def test_a_kill_loses_no_acknowledged_video_and_store_rows_and_index_agree(
    release: Candidate, store: FeatureStore
) -> None:
    words = [sys.executable, "-c", WRITES, store.storage.root, release.site.client._config.uri]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    acknowledged = []
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.append(line.strip())
            if len(acknowledged) == 12:
                process.send_signal(signal.SIGKILL)
    bring_up_to_date(release)
    assert len(acknowledged) >= 12 and set(acknowledged) <= in_the_index(release).keys()
    assert in_the_store(store) == release.rows.current() == in_the_index(release)
    assert not any(verify(release.site.client, release.rows, release.collection, release.site.index, repair=False))


def test_writes_survive_a_killed_milvus(release: Candidate, store: FeatureStore, writer: Writer) -> None:
    before = release.rows.current()

    def write(number: int) -> None:
        add(writer, release, f"new{number}")
        if number % 3 == 0:
            assert writer.delete([f"v{number:03}"]) == [f"v{number:03}"]

    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(write, number) for number in range(12)]
        writing[2].result()
        os.kill(owner_pid(release.site.client._config.uri), signal.SIGKILL)
        for one in writing:
            one.result()
    expected = before | {f"new{number}": "1" for number in range(12)}
    expected = {
        video_id: version for video_id, version in expected.items() if video_id not in {"v000", "v003", "v006", "v009"}
    }
    assert in_the_store(store) == release.rows.current() == in_the_index(release) == expected


def test_small_parts_included_in_a_snapshot_are_merged(release: Candidate, writer: Writer) -> None:
    for number in range(5):
        add(writer, release, f"new{number}")
    before = release.rows.current()
    bring_up_to_date(release, snapshot=True)
    bring_up_to_date(release)
    assert len(release.rows.parts()) == 1 and release.rows.current() == before
