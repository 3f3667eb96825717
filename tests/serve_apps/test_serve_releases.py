"""Queries are encoded with the encoders of the release that answers, whatever the service's settings name."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pytest
import torch

from promoted import Promoted, make_promoted
from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoders
from rayreel.features.key import EncoderKey
from rayreel.release import registry
from rayreel.settings import Settings
from rayreel.tower.config import TowerConfig
from rayreel.tower.tower import VideoTower
from release_rows import DIM
from release_site import register
from serve_apps.encode import Encode, Encoded

OTHER = "efficientnet_lite0"


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Promoted:
    """Release 1 with the encoders of the settings, which serves, and release 2 with another frame encoder."""
    folder = tmp_path_factory.mktemp("adopted")
    made = make_promoted(folder)
    other = made.settings.with_encoders({}, {Modality.VISUAL: OTHER})
    key = EncoderKey.of(load_encoders(other.encoders, other.weights_cache), other.sampling)
    torch.manual_seed(1)
    second = register(other.place, VideoTower(TowerConfig(dim=DIM), key.dims), folder / "second", str(key))
    mlflow.MlflowClient().log_dict(second.run_id, other.model_dump(mode="json"), "config.yaml")
    registry.crown(1)
    return made


@pytest.fixture(autouse=True)
def _in_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray asks the replica for its limit of calls; here is none."""
    limits = SimpleNamespace(max_ongoing_requests=8)
    context = SimpleNamespace(_deployment_config=limits)
    monkeypatch.setattr("ray.serve.get_replica_context", lambda: context)


def encoding(settings: Settings) -> Any:  # noqa: ANN401 - Serve hides the class
    return Encode.func_or_class(settings)  # type: ignore[attr-defined]


def test_each_release_answers_with_its_own_encoders_before_and_after_a_switch(
    promoted: Promoted, film: Callable[..., Path]
) -> None:
    async def scenario() -> None:
        encode, upload = encoding(promoted.settings), np.fromfile(film(), np.uint8)
        before = [await encode.texts(["waves"], 1), await encode.video(upload, "", 1, None, 60)]
        facts = [await encode.describe(version) for version in (1, 2)]
        assert [fact["visual"].partition("@")[0] for fact in facts] == ["mobilenet_v2", OTHER]
        together = await asyncio.gather(*(encode.video(upload, "", version, None, 60) for version in (1, 2, 1)))
        np.testing.assert_allclose(together[0], before[1], atol=1e-5)
        np.testing.assert_allclose(together[2], before[1], atol=1e-5)
        assert abs(together[1] @ before[1]) < 0.99
        np.testing.assert_allclose(await encode.texts(["waves"], 1), before[0], atol=1e-5)
        space = await encode.video_in(upload, "", 2, Modality.VISUAL, 60)
        assert space.shape == (1280,)
        added = await encode.new_video(upload, CatalogVideo(video_id="a", uri="a.mp4", title="waves"), 1, 60)
        assert isinstance(added, Encoded) and added.release_rows["raw_visual"][0].is_valid
        assert (await encode.embed_again(added.features, 1)).num_rows == 1
        assert await encode.embed_again(added.features, 2) is None, "its features are of other encoders"

    asyncio.run(scenario())  # once: Serve's batches belong to the first event loop of the process
