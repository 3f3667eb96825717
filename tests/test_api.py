"""The Python API: light to import, the same settings as the commands, and recommendations without a service."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rayreel
from chain import ROOT
from feature_rows import DIMS, clusters
from promoted import RANDOM, Promoted, make_promoted
from rayreel import api
from rayreel.cli.steps.local import local_release
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoders
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.evaluate import evaluate
from rayreel.index.search import NoRelease
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import UnknownVideo
from rayreel.recommendation.query import BadQuery
from rayreel.release import registry
from rayreel.release.rows import ReleaseRows
from rayreel.settings import OtherEncoders, SettingsError, load_settings
from rayreel.tower.config import TowerConfig
from rayreel.tower.embed import embed_queries
from rayreel.tower.tower import VideoTower
from release_rows import DIM, release_row, release_table
from serve_apps.encoder_sets import run_each

HEAVY = {"mlflow", "numpy", "pandas", "pyarrow", "pydantic", "pymilvus", "ray", "torch", "typer"}


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Promoted:
    return make_promoted(tmp_path_factory.mktemp("promoted"))


def test_importing_the_package_loads_no_library() -> None:
    code = "import rayreel, sys; dir(rayreel); print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "rayreel" in loaded and not set(loaded) & HEAVY


def test_the_functions_are_attributes_of_the_package_and_nothing_else_is() -> None:
    assert set(rayreel.__all__) == set(api.__all__) <= set(dir(rayreel))
    assert all(getattr(rayreel, name) is getattr(api, name) for name in rayreel.__all__)
    with pytest.raises(AttributeError, match="recomend"):
        rayreel.recomend  # noqa: B018


def test_the_examples_of_the_docstrings_are_in_the_notebook() -> None:
    """The notebook is executed by another test, so the examples run."""
    notebook = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text())
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    for name in api.__all__:
        examples = [line for line in (getattr(api, name).__doc__ or "").splitlines() if ">>>" in line]
        assert len(examples) == 1, name
        assert examples[0].partition(">>> ")[2] in code
        ast.parse(code)


def test_recommendations_like_a_video_are_the_nearest_others_by_cosine(promoted: Promoted) -> None:
    expected = promoted.nearest(promoted.embeddings["v07"], 5, without="v07")
    assert promoted.recommend(video_id="v07", top_k=5) == expected


def test_a_text_is_encoded_as_in_the_service(promoted: Promoted) -> None:
    """The service encodes the texts of several requests as one batch."""
    encoder = load_encoders(promoted.settings.encoders, promoted.settings.weights_cache).text
    vectors_TD = encoder.encode(["a much longer text about traffic in the city at night", "waves at the beach"])
    tower = registry.load(registry.resolve("1"))
    _, query_D = run_each([(tower, {Modality.TEXT: vector_D[None]}) for vector_D in vectors_TD], embed_queries)
    settings = promoted.settings.model_copy(update={"recommend": RecommendConfig(text_neighbours=0)})
    found = rayreel.recommend(text="waves at the beach", top_k=5, settings=settings)
    assert [video.video_id for video in found] == promoted.nearest(query_D, 5)
    np.testing.assert_allclose(found[0].score, promoted.embeddings[found[0].video_id] @ query_D, atol=1e-5)


def test_an_embedding_of_any_length_is_a_query(promoted: Promoted) -> None:
    vector_D = np.linspace(-1, 1, DIM)
    assert promoted.recommend(embedding=vector_D, top_k=4) == promoted.nearest(vector_D, 4)
    assert promoted.recommend(embedding=(9 * vector_D).tolist(), top_k=4) == promoted.nearest(vector_D, 4)


def test_users_get_no_video_that_they_watched(promoted: Promoted) -> None:
    found = promoted.recommend(user={"history": ["v01", {"video_id": "v02", "weight": 2}]}, top_k=40)
    assert len(found) == 38 and not {"v01", "v02"} & set(found)


def test_the_options_are_those_of_the_service(promoted: Promoted) -> None:
    query: dict[str, Any] = {"video_id": "v07", "filter": {"category": "c1"}, "exclude": ["v01"], "explain": True}
    found = rayreel.recommend(top_k=40, settings=promoted.settings, **query)
    assert {video.video_id for video in found} == {f"v{n:02}" for n in range(1, 40, 4)} - {"v01"}
    assert {"stage", "visual"} < set(found.to_pandas().columns)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "exactly one of"),
        ({"video_id": "v01", "text": "two queries"}, "exactly one of"),
        ({"video_id": "v01", "top_n": 3}, "top_n: "),
        ({"user": {"history": ["v01"]}, "hybrid": True}, "hybrid requires text"),
        ({"embedding": [1.0, 2.0]}, f"{DIM} numbers"),
    ],
)
def test_an_invalid_query_is_rejected_with_the_reason(promoted: Promoted, query: dict[str, Any], message: str) -> None:
    with pytest.raises(BadQuery, match=message):
        promoted.recommend(**query)


def test_an_unknown_video_is_rejected(promoted: Promoted) -> None:
    with pytest.raises(UnknownVideo, match="nowhere"):
        promoted.recommend(video_id="nowhere")


def test_a_text_is_encoded_by_the_encoders_of_the_release_whatever_the_settings_name(promoted: Promoted) -> None:
    sets = RANDOM | {"encoders.text": "bert_base"}
    found = rayreel.recommend(text="waves", storage=promoted.settings.storage, sets=sets)
    assert [video.video_id for video in found] == promoted.recommend(text="waves")


def test_a_text_is_rejected_if_the_encoders_of_the_release_cannot_be_had_as_they_were(promoted: Promoted) -> None:
    with pytest.raises(OtherEncoders, match=r"but its encoders are .* encoders.precision"):
        rayreel.recommend(text="waves", storage=promoted.settings.storage, sets=RANDOM | {"encoders.precision": "bf16"})


def test_videos_added_later_are_recommended_without_loading_the_release_again(promoted: Promoted) -> None:
    promoted.recommend(video_id="v03")
    before = local_release(promoted.settings)
    added = release_row("added", embedding=promoted.embeddings["v03"], category="new")
    ReleaseRows(promoted.settings.place, 1).add(release_table(added))
    assert promoted.recommend(video_id="v03", top_k=1, filter={"category": "new"}) == ["added"]
    assert local_release(promoted.settings) is before


def test_without_a_promotion_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoRelease, match=r"Nothing has been promoted below .*Promote a tower first"):
        rayreel.recommend(video_id="v01", storage=tmp_path)


def test_sets_are_the_settings_of_the_commands(tmp_path: Path) -> None:
    sets = {"train.epochs": 5, "tower.modalities": ["visual", "text"], "interactions": None, "storage": "elsewhere"}
    words = ["train.epochs=5", "tower.modalities=[visual, text]"]
    assert api._settings(tmp_path, sets, None) == load_settings(sets=words, storage=str(tmp_path))
    with pytest.raises(SettingsError, match=r"no setting train\.epoch"):
        api._settings(None, {"train.epoch": 5}, None)


@pytest.mark.parametrize("more", [{"storage": "demo"}, {"sets": {"train.epochs": 5}}])
def test_a_settings_object_and_single_settings_are_not_mixed(more: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="either settings, or storage and sets"):
        rayreel.train(settings=load_settings(), **more)


def test_a_resumed_run_takes_no_settings() -> None:
    with pytest.raises(SettingsError, match="started with"):
        rayreel.train(resume="last", sets={"train.epochs": 5})


def test_recommendations_are_a_list_with_a_table(promoted: Promoted) -> None:
    found = rayreel.recommend(video_id="v07", top_k=2, settings=promoted.settings)
    table = found.to_pandas()
    assert len(found) == 2 and found[0] == next(iter(found))
    assert table["video_id"].tolist() == [video.video_id for video in found]
    assert repr(found).startswith("2 results of release 1\n") and f"film {found[1].video_id}" in repr(found)
    assert "<table" in found._repr_html_()
    empty = rayreel.recommend(video_id="v07", filter={"category": "none"}, settings=promoted.settings)
    assert len(empty) == 0 and list(empty.to_pandas().columns) == list(table.columns)


def test_an_evaluation_is_a_table_of_methods() -> None:
    torch.manual_seed(0)
    matrix = clusters(categories=3, each=12)
    tower = VideoTower(TowerConfig(dim=16), DIMS)
    config = EvaluationConfig(ks=(1, 10), neighbour_ks=(1,), bootstrap=100)
    result = evaluate(tower, matrix, SplitConfig(test=0.4, validation=0.1), config)
    table = result.to_pandas()
    scores = result.sections["category"].scores["tower"]
    assert table.loc[("category", "tower"), "ndcg@10"] == scores["ndcg@10"].mean
    assert f"category: ndcg@10 {scores['ndcg@10'].mean:.3f}" in repr(result)
    assert "untrained tower" in result._repr_html_()
