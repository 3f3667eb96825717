"""Fitting frozen features: from the training videos only, and without what training needs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from feature_rows import DIMS, KEY, clusters_table, feature_row, feature_table
from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.evaluation.config import SplitConfig
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.config import FrozenConfig
from rayreel.tower.embed import embed
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.probe import ProbedFeatures
from rayreel.training.config import TrainConfig
from rayreel.training.frozen import NoLabels, NotWords, fit_frozen, fit_probe, fit_words
from rayreel.training.job import TrainJob, prepare


def job(root: Path, videos: int, validation: float = 0.2) -> TrainJob:
    store = FeatureStore(Storage(root), KEY)
    store.create()
    rows = [feature_row(f"v{n:02}", category=f"c{n % 3}") for n in range(videos)]
    store.add(feature_table(*rows), QUARANTINE.empty_table())
    store.set_catalog([(f"v{n:02}", "1") for n in range(videos)])
    splits = SplitConfig(validation=validation, test=0.2)
    return TrainJob(str(root), KEY, store.fingerprint(), splits=splits)


def test_statistics_are_those_of_the_training_videos(tmp_path: Path) -> None:
    what = job(tmp_path, 60)
    ready = prepare(what)
    expected = FrozenFeatures(what.frozen, DIMS)
    expected.fit_inputs({m: ragged.of(ready.split.train) for m, ragged in ready.matrix.vectors.items()})
    buffers = dict(fit_frozen(what).tower.named_buffers())
    assert buffers
    for name, buffer in expected.named_buffers():
        torch.testing.assert_close(buffers[name], buffer)


def test_text_that_agrees_with_the_frames_keeps_its_weight(tmp_path: Path) -> None:
    store = FeatureStore(Storage(tmp_path), KEY)
    store.create()
    table = clusters_table(each=15)
    store.add(table, QUARANTINE.empty_table())
    store.set_catalog([(video_id, "1") for video_id in table["video_id"].to_pylist()])
    found = fit_frozen(TrainJob(str(tmp_path), KEY, store.fingerprint()))
    assert found.agreement is not None and found.agreement > 0.5
    assert found.tower.config == FrozenConfig()


def test_text_unrelated_to_the_frames_keeps_a_twentieth_unless_that_is_switched_off(tmp_path: Path) -> None:
    what = job(tmp_path, 60)  # all vectors are random
    found = fit_frozen(what)
    assert found.agreement is not None and abs(found.agreement) < 0.1
    assert found.features.config.text == pytest.approx(0.05 * what.frozen.text)
    always = fit_frozen(replace(what, frozen=FrozenConfig(min_agreement=-1)))
    assert always.features.config.text == what.frozen.text and always.agreement == found.agreement


def test_of_few_videos_the_agreement_is_unknown(tmp_path: Path) -> None:
    assert fit_frozen(job(tmp_path, 9)).agreement is None


def test_it_is_measured_by_the_task_that_selects_an_epoch(tmp_path: Path) -> None:
    what = job(tmp_path, 60)
    found = fit_frozen(what).metrics
    assert prepare(what).validation.score in found and all(np.isfinite(value) for value in found.values())


def test_tf_idf_is_not_made_of_features_of_a_network(tmp_path: Path) -> None:
    with pytest.raises(NotWords, match="--preset words"):
        fit_words(job(tmp_path, 12))


def test_tf_idf_reads_only_words_and_keeps_how_rare_they_are(tmp_path: Path) -> None:
    what = job(tmp_path, 60)
    identities = {**KEY.identities, Modality.TEXT: "hashed_words+test"}
    store = FeatureStore(Storage(tmp_path), KEY.model_copy(update={"identities": identities}))
    store.create()
    rows = feature_table(*(feature_row(f"v{n:02}", category=f"c{n % 3}") for n in range(60)))
    store.add(rows, QUARANTINE.empty_table())
    store.set_catalog([(f"v{n:02}", "1") for n in range(60)])
    found = fit_words(replace(what, key=store.key, features=store.fingerprint())).tower
    assert list(found.modalities) == [Modality.TEXT] and found.dim == DIMS[Modality.TEXT]
    assert [name for name, _ in found.named_buffers()] == ["standardise.text.idf"]


def test_data_without_a_validation_task_need_none(tmp_path: Path) -> None:
    assert fit_frozen(job(tmp_path, 12, validation=0.0)).metrics == {}


def test_a_probe_knows_validation_videos_only_if_it_is_refitted(tmp_path: Path) -> None:
    what = job(tmp_path, 60)
    exam = prepare(what)
    once, again = (fit_probe(replace(what, train=TrainConfig(refit=refit))) for refit in (False, True))
    for found, known in ((once, exam.split.train), (again, np.union1d(exam.split.train, exam.split.validation))):
        features, names = fit_frozen(what).tower, np.array(exam.matrix.column("category"))
        assert isinstance(found.tower, ProbedFeatures) and isinstance(features, FrozenFeatures)
        expected = ProbedFeatures.fitted(features, embed(features, exam.matrix)[known], names[known])
        torch.testing.assert_close(found.tower.scores.weight, expected.scores.weight, atol=1e-3, rtol=1e-2)
    assert once.metrics == again.metrics and once.smoothing == again.smoothing


def test_a_probe_needs_two_categories(tmp_path: Path) -> None:
    store = FeatureStore(Storage(tmp_path), KEY)
    store.create()
    store.add(feature_table(*(feature_row(f"v{n}", category="") for n in range(20))), QUARANTINE.empty_table())
    store.set_catalog([(f"v{n}", "1") for n in range(20)])
    with pytest.raises(NoLabels, match=r"fewer than two categories.*train\.recipe=frozen"):
        fit_probe(TrainJob(str(tmp_path), KEY, store.fingerprint()))


def test_a_single_training_video_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RayreelError, match=r"Only [01] of 1 videos .* splits\.test"):
        fit_frozen(job(tmp_path, 1))
