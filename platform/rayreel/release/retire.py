"""Former releases: some are kept to roll back to, the others go."""

import logging

from rayreel.index.alias import IndexInUse, aliases_of, collections, drop_collection
from rayreel.release import audit
from rayreel.release.lease import Held, Lease, build_lease
from rayreel.release.rows import ReleaseRows
from rayreel.release.site import Site

log = logging.getLogger(__name__)


def retire(site: Site) -> list[int]:
    """Drop collections, rows and snapshots of releases beyond the `release.keep` last ones; returns their versions.

    What an alias names is never dropped, nor what is newer than the serving version and was never promoted: it may be
    in the making; nor what another process works on, such as a roll-back: the next promotion drops it.
    """
    serving = site.serving()
    promoted = {release.version: release.promoted_at for release in audit.history()}
    former = [
        (promoted.get(version, ""), version, name)
        for version, name in collections(site.client, site.index.timeout_s)
        if not aliases_of(site.client, name, site.index.timeout_s)
        and (version in promoted or serving is None or version < serving)
    ]
    beyond = sorted(former, reverse=True)[site.release.keep :]
    return sorted(version for _, version, name in beyond if _drop(site, version, name))


def _drop(site: Site, version: int, name: str) -> bool:
    """Whether it was dropped; not while somebody works on it, or has let it serve meanwhile."""
    try:
        with Lease(site.storage, build_lease(version), f"drops release {version}"):
            drop_collection(site.client, name, site.index.timeout_s)
            ReleaseRows(site.storage, version).drop()
    except (Held, IndexInUse) as busy:
        log.info("release %d is kept for now: %s", version, busy)
        return False
    return True
