"""Adopting other encoders: the new release is made beside the serving one, and a refusal changes nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from feature_rows import KEY
from rayreel.encoders.encoder import Modality
from rayreel.features.key import EncoderKey
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.release import registry
from rayreel.release.adopt import promote_or_restore
from rayreel.release.gates import PromotionRefused
from rayreel.release.promote import promote
from rayreel.release.registry import Version
from rayreel.release.site import Site
from release_site import VIDEOS, good_tower, register, weak_tower

OTHER = EncoderKey.model_validate(
    KEY.model_dump() | {"identities": KEY.identities | {Modality.VISUAL: "other_net@0123456789ab+crop"}}
)


def with_other_features(site: Site, folder: Path, *, good: bool) -> Version:
    """Register a tower of other encoders, whose features are in a second store of the same catalog."""
    store = FeatureStore(site.storage, OTHER)
    store.create()
    key = VIDEOS.column_names.index("encoder_key")
    store.add(VIDEOS.set_column(key, "encoder_key", [[str(OTHER)] * len(VIDEOS)]), QUARANTINE.empty_table())
    return register(site.storage, good_tower() if good else weak_tower(), folder / "new", str(OTHER))


def adopted(site: Site, version: Version, challenger: int | None) -> None:
    own = replace(site, encoder_key=str(OTHER))  # the settings are those of the new encoders
    promote_or_restore(version, challenger, lambda: promote(version, own))


def test_a_refused_tower_of_other_encoders_leaves_the_release_and_the_challenger(site: Site, tmp_path: Path) -> None:
    promote(registry.resolve("2"), site)
    before = registry.pointed_at(registry.CHALLENGER)
    version = with_other_features(site, tmp_path, good=False)
    assert registry.pointed_at(registry.CHALLENGER) == version.number != before
    with pytest.raises(PromotionRefused, match="champion") as refused:
        adopted(site, version, before)
    assert site.serving() == 2 and registry.pointed_at(registry.CHAMPION) == 2
    assert registry.pointed_at(registry.CHALLENGER) == before
    assert not site.storage.exists(site.storage.path("releases", f"v{version.number}"))
    message = str(refused.value)
    assert f"features/{OTHER}" in message and f"--version {version.number} --force" in message
    with pytest.raises(PromotionRefused, match="champion"):
        adopted(site, version, None)
    assert registry.pointed_at(registry.CHALLENGER) is None


def test_a_better_tower_of_other_encoders_replaces_the_release(one: Site, tmp_path: Path) -> None:
    version = with_other_features(one, tmp_path, good=True)
    adopted(one, version, 3)
    assert one.serving() == version.number == registry.pointed_at(registry.CHAMPION)
