"""Former releases: some are kept to roll back to, the others go."""

from rayreel.index.alias import aliases_of, collections, drop_collection
from rayreel.release import audit
from rayreel.release.rows import ReleaseRows
from rayreel.release.site import Site


def retire(site: Site) -> list[int]:
    """Drop collections, rows and snapshots of releases beyond the `release.keep` last ones; returns their versions.

    What an alias names is never dropped, nor what is newer than the serving version and was never promoted: it may be
    in the making.
    """
    serving = site.serving()
    promoted = {release.version: release.promoted_at for release in audit.history()}
    former = [
        (promoted.get(version, ""), version, name)
        for version, name in collections(site.client, site.index.timeout_s)
        if not aliases_of(site.client, name, site.index.timeout_s)
        and (version in promoted or serving is None or version < serving)
    ]
    gone = sorted(former, reverse=True)[site.release.keep :]
    for _, version, name in gone:
        drop_collection(site.client, name, site.index.timeout_s)
        ReleaseRows(site.storage, version).drop()
    return sorted(version for _, version, _ in gone)
