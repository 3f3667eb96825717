"""The parts of the encode deployment: batches of queries and feature rows. The shown output of jobs."""

import numpy as np
import pytest
import torch

from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.encoder import Modality
from rayreel.features.key import EncoderKey
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.schema import feature_schema
from rayreel.media.clip import Clip, MediaFacts
from rayreel.media.config import SamplingConfig
from rayreel.release.embed import embed_table
from rayreel.tower.config import TowerConfig
from rayreel.tower.embed import QueryVectors, embed_queries, embed_query
from rayreel.tower.tower import VideoTower
from serve_apps.batch import presentable
from serve_apps.feature_row import feature_row

DIMS = {Modality.VISUAL: 6, Modality.AUDIO: 5, Modality.TEXT: 4}
KEY = EncoderKey(
    identities={m: f"{m}@1+x" for m in Modality}, dims=DIMS, frame_size=8, sampling=SamplingConfig(frames=2)
)


@pytest.fixture
def tower() -> VideoTower:
    torch.manual_seed(0)
    return VideoTower(TowerConfig(dim=16), DIMS)


def vectors(seed: int, **counts: int) -> QueryVectors:
    rng = np.random.default_rng(seed)
    return {Modality(m): rng.normal(size=(n, DIMS[Modality(m)])).astype(np.float32) for m, n in counts.items()}


def clip(content: str = "ab") -> Clip:
    return Clip(np.zeros((2, 8, 8, 3), np.uint8), None, MediaFacts(1.5, 8, 8, 25.0, False), content)


def test_a_query_has_the_same_embedding_in_any_batch(tower: VideoTower) -> None:
    queries = [vectors(1, text=1), vectors(2, visual=3, audio=2), vectors(3, visual=1, audio=4, text=1)]
    together = embed_queries(tower, queries)
    for query, embedding_D in zip(queries, together, strict=True):
        np.testing.assert_allclose(embedding_D, embed_query(tower, query), atol=1e-5)


def test_a_query_that_the_tower_cannot_read_is_zero_and_affects_no_other(tower: VideoTower) -> None:
    nothing, something = embed_queries(tower, [{}, vectors(1, text=1)])
    assert not nothing.any() and np.linalg.norm(something) == pytest.approx(1, abs=1e-5)


def test_an_added_video_gets_the_same_row_as_in_extraction(tower: VideoTower) -> None:
    video = CatalogVideo(video_id="a", uri="s3://b/a.mp4", title="A", tags=("x", "y"), extra={"views": 3})
    seen = vectors(1, visual=2, text=1)
    table = feature_row(video, clip(), seen, KEY)
    assert table.schema == feature_schema(DIMS)
    row = table.to_pylist()[0]
    assert (row["video_id"], row["tags"], row["extra"], row["audio"]) == ("a", ["x", "y"], '{"views": 3}', None)
    assert (row["duration_s"], row["content_hash"], row["encoder_key"]) == (1.5, "ab", str(KEY))
    np.testing.assert_allclose(np.array(row["visual"], np.float32), seen[Modality.VISUAL], atol=2e-3)
    assert len(FeatureMatrix.from_table(table)) == 1 and embed_table(tower, table).num_rows == 1


def test_the_version_of_an_added_video_depends_on_content_and_metadata() -> None:
    video = CatalogVideo(video_id="a", uri="s3://b/a.mp4")
    versions = {
        feature_row(v, c, vectors(1, visual=1), KEY)["version"][0].as_py()
        for v, c in (
            (video, clip()),
            (video, clip("other")),
            (video.model_copy(update={"title": "other"}), clip()),
            (video, clip()),
        )
    }
    assert len(versions) == 3


def test_the_output_of_a_job_is_shown_without_folders_secrets_and_tracebacks() -> None:
    command = "Running entrypoint for job add-1: python jobs/index.py --set index.token=swordfish"
    assert presentable(f"{command}\nfirst line") == "first line"
    output = "\n".join(["early"] * 100 + ["Wrote /srv/secret/storage/rows", "from s3://bucket/catalog.csv"])
    shown = presentable(output)
    assert "secret" not in shown and "…/rows" in shown and "s3://bucket/catalog.csv" in shown
    assert len(shown.splitlines()) == 40
    failed = presentable(output + '\nTraceback (most recent call last)\n  File "/srv/secret.py", line 1\nKeyError: 1')
    assert "KeyError" not in failed and "See its log" in failed.splitlines()[-1]
