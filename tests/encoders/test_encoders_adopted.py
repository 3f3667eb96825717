"""Adopted encoders are the default of later commands, until settings choose others or another release serves."""

from pathlib import Path

import pytest

from rayreel.cli.steps.extract import check_adopted
from rayreel.encoders.adopted import AdoptedEncoders, adopted_encoders, forget_adopted
from rayreel.encoders.encoder import Modality
from rayreel.settings import OtherEncoders, load_settings
from rayreel.storage import Storage

NAMES = {Modality.VISUAL: "efficientnet_lite2", Modality.AUDIO: "log_mel", Modality.TEXT: "bert_base"}


@pytest.fixture
def adopted(any_storage: Storage) -> AdoptedEncoders:
    made = AdoptedEncoders(names=NAMES, encoder_key="new-key", release=4)
    made.keep(any_storage)
    return made


def test_adopted_encoders_are_the_default_below_their_folder(
    any_storage: Storage, adopted: AdoptedEncoders, tmp_path: Path
) -> None:
    assert adopted_encoders(any_storage.root) == adopted
    found = load_settings(sets=["encoders.batch=3"], storage=any_storage.root)
    if any_storage.is_local:
        assert found.encoders.resolve() == NAMES
        check_adopted(found)
    else:  # settings are read without a network
        with pytest.raises(OtherEncoders, match=r"Release 4 .* --set encoders.visual=efficientnet_lite2"):
            check_adopted(found)
    other = load_settings(storage=str(tmp_path / "other"))
    assert other.encoders.resolve()[Modality.VISUAL] == "mobilenet_v2"


def test_settings_that_choose_encoders_take_precedence(any_storage: Storage, adopted: AdoptedEncoders) -> None:
    preset = load_settings(sets=["encoders.preset=laptop"], storage=any_storage.root)
    assert preset.encoders.resolve()[Modality.VISUAL] == "mobilenet_v2"
    with pytest.raises(OtherEncoders, match=r"Release 4 .* --set encoders.visual=efficientnet_lite2 .*adopted.json"):
        check_adopted(preset)
    one = load_settings(sets=["encoders.visual=resnet50"], storage=any_storage.root)
    assert one.encoders.resolve()[Modality.TEXT] == "all_minilm_l6_v2"


def test_a_release_of_other_features_ends_the_adoption(any_storage: Storage, adopted: AdoptedEncoders) -> None:
    assert not forget_adopted(any_storage, "new-key") and adopted_encoders(any_storage.root) == adopted
    assert forget_adopted(any_storage, "old-key") and adopted_encoders(any_storage.root) is None
    assert not forget_adopted(any_storage, "old-key")


def test_settings_take_the_encoders_and_the_sampling_of_a_run(tmp_path: Path) -> None:
    sets = ["encoders.visual=r2plus1d_18", "sampling.frames=4", "encoders.batch=7"]
    trained = load_settings(sets=["encoders.text=bert_base", "sampling.frames=6"], storage=str(tmp_path))
    found = load_settings(sets=sets, storage=str(tmp_path)).with_encoders(trained.model_dump(mode="json"))
    assert found.encoders.resolve() == trained.encoders.resolve() and found.sampling == trained.sampling
    assert found.encoders.batch == 7
    chosen = found.with_encoders(trained.model_dump(mode="json"), {Modality.VISUAL: "r2plus1d_18"})
    assert chosen.sampling.window == 16 and chosen.encoders.resolve()[Modality.VISUAL] == "r2plus1d_18"
