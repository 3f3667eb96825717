import hashlib
import json

from feature_rows import KEY
from rayreel.encoders.encoder import Modality
from rayreel.features.key import EncoderKey, key_name
from rayreel.media.config import SamplingConfig


def with_identity(modality: Modality, identity: str) -> EncoderKey:
    return KEY.model_copy(update={"identities": KEY.identities | {modality: identity}})


def test_the_key_name_lists_the_encoders_in_the_order_of_the_tower() -> None:
    assert str(KEY).startswith("visual_net+audio_net+text_net-")


def test_other_weights_or_preprocessing_of_one_encoder_give_another_key() -> None:
    weights = with_identity(Modality.TEXT, "text_net@ffffffffffff+crop")
    preprocessing = with_identity(Modality.TEXT, "text_net@0123456789ab+squash")
    assert len({str(KEY), str(weights), str(preprocessing)}) == 3


def test_every_setting_of_the_sampling_is_part_of_the_key() -> None:
    other = {"frames": 9, "frame_interval_s": 9, "mode": "exact", "window": 9, "squeeze": True}
    other |= {"audio_windows": 9, "audio_window_s": 9, "audio_first_s": 9}
    assert other.keys() == SamplingConfig.model_fields.keys() - {"track_s"}
    others = [SamplingConfig.model_validate({name: value}) for name, value in other.items()]
    assert len({key_name(KEY.identities, sampling) for sampling in [SamplingConfig(), *others]}) == 9


def test_a_setting_of_the_sampling_that_is_unset_does_not_change_the_key() -> None:
    """Stores from before `squeeze`, `frame_interval_s` and `audio_first_s` keep their names."""
    before = {"frames": 8, "mode": "auto", "window": 1, "audio_windows": 4, "audio_window_s": 2.0}
    content = {"identities": KEY.identities, "sampling": before}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    assert key_name(KEY.identities, SamplingConfig()).endswith(digest)


def test_the_order_of_modalities_does_not_change_the_key() -> None:
    backwards = dict(reversed(KEY.identities.items()))
    assert key_name(backwards, KEY.sampling) == str(KEY)


def test_the_key_name_is_a_single_folder_name() -> None:
    assert "/" not in str(KEY)


def test_a_key_round_trips_through_json() -> None:
    again = EncoderKey.model_validate_json(KEY.model_dump_json())
    assert again == KEY
    assert str(again) == str(KEY)


def test_one_network_with_random_weights_makes_the_key_random() -> None:
    assert not KEY.is_random
    assert with_identity(Modality.TEXT, "text_net@random0+crop").is_random
