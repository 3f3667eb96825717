from dataclasses import replace

from rayreel.index.alias import collections
from rayreel.index.write import create_collection
from rayreel.release import registry
from rayreel.release.promote import promote, retire
from rayreel.release.site import Site


def keeping(site: Site, count: int) -> Site:
    return replace(site, release=site.release.model_copy(update={"keep": count}))


def versions(site: Site) -> list[int]:
    return [found.version for found in collections(site.client)]


def folders(site: Site) -> list[str]:
    return [name for name in site.storage.folders(site.storage.path("releases")) if name != "leases"]


def test_former_releases_beyond_the_limit_are_dropped_with_all_their_data(two: Site) -> None:
    site = keeping(two, 1)
    assert retire(site) == []
    assert promote(registry.resolve("3"), site, force="to have three").retired == [1]
    assert versions(site) == [2, 3] and folders(site) == ["v2", "v3"]


def test_the_most_recently_served_releases_are_kept(site: Site) -> None:
    for version, reason in (("3", None), ("2", None), ("1", "back to the beginnings")):
        promote(registry.resolve(version), site, force=reason)
    assert retire(keeping(site, 1)) == [3]
    assert versions(site) == [1, 2]


def test_serving_releases_and_possible_builds_are_never_dropped(site: Site) -> None:
    promote(registry.resolve("2"), site)
    for name in ("videos_v1", "videos_v3"):
        create_collection(site.client, name, 8, site.index)
    switched = keeping(site, 1)
    assert retire(switched) == []
    create_collection(site.client, "videos_v0", 8, site.index)
    assert retire(switched) == [0]
    assert versions(site) == [1, 2, 3]
