"""`rayreel similar` and `rayreel export` in the space of one encoder, from a feature store without a release."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.neighbors import NearestNeighbors
from typer.testing import CliRunner, Result

from films import write_film
from random_store import SETS, VIDEOS, random_store
from rayreel.cli.main import app
from rayreel.errors import RayreelError
from rayreel.features.store import FeatureStore
from rayreel.recommendation.live import UnknownVideo

OPTIONS = [word for line in SETS for word in ("--set", line)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return random_store(str(tmp_path_factory.mktemp("space")))


def invoke(store: FeatureStore, *words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, "--storage", store.storage.root, *OPTIONS])


def answer(store: FeatureStore, *words: str) -> dict[str, Any]:
    done = invoke(store, *words, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def nearest(store: FeatureStore, modality: str, metric: str, count: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids, and the nearest others of each video with their distances, of scikit-learn."""
    table = store.read(["video_id", modality])
    table = table.filter(table[modality].is_valid())
    means_ND = np.stack([np.asarray(value, np.float32).mean(axis=0) for value in table[modality].to_pylist()])
    distances, places = NearestNeighbors(n_neighbors=count, metric=metric).fit(means_ND).kneighbors()
    return table["video_id"].to_pylist(), places, distances


@pytest.mark.parametrize(("metric", "known"), [("l1", "manhattan"), ("l2", "euclidean")])
def test_similar_videos_by_a_distance_are_those_of_scikit_learn(store: FeatureStore, metric: str, known: str) -> None:
    ids, places, distances = nearest(store, "audio", known, 4)
    found = answer(store, "similar", ids[3], "--k", "4", "--encoder", "audio", "--metric", metric)["results"]
    assert [video["video_id"] for video in found] == [ids[place] for place in places[3]]
    np.testing.assert_allclose([video["distance"] for video in found], distances[3], rtol=1e-5)


def test_by_default_vectors_are_compared_by_cosine(store: FeatureStore) -> None:
    ids, places, distances = nearest(store, "visual", "cosine", 3)
    found = answer(store, "similar", "v04", "--k", "3", "--encoder", "visual")
    assert found["metric"] == "cosine" and "mobilenet" in found["encoder"]
    assert [video["video_id"] for video in found["results"]] == [ids[place] for place in places[4]]
    np.testing.assert_allclose([video["score"] for video in found["results"]], 1 - distances[4], rtol=1e-4)


def test_a_file_is_a_query_in_the_space_of_an_encoder(store: FeatureStore, tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4")
    shown = invoke(store, "similar", str(film), "--k", "2", "--encoder", "visual", "--metric", "l1").output
    assert "visual, l1" in shown and "distance" in shown


def test_neighbours_by_a_distance_are_exported(store: FeatureStore, tmp_path: Path) -> None:
    ids, places, distances = nearest(store, "audio", "manhattan", 2)
    to = tmp_path / "out.parquet"
    words = ("export", "--top", "2", "--to", str(to), "--encoder", "audio", "--metric", "l1")
    assert answer(store, *words)["videos"] == VIDEOS // 2
    table = pq.read_table(to)
    assert table.column_names == ["video_id", "rank", "neighbour_id", "distance"]
    assert table["neighbour_id"].to_pylist() == [ids[place] for place in places.ravel()]
    np.testing.assert_allclose(table["distance"], distances.ravel(), rtol=1e-5)


def test_a_video_without_the_modality_is_an_error(store: FeatureStore) -> None:
    error = invoke(store, "similar", "v00", "--encoder", "audio").exception
    assert isinstance(error, UnknownVideo) and "'v00' is neither a file nor a video with audio features" in str(error)


def test_a_release_has_no_other_metric(store: FeatureStore) -> None:
    error = invoke(store, "similar", "v00", "--metric", "l1").exception
    assert isinstance(error, RayreelError) and "--metric l1 needs --encoder" in str(error)
