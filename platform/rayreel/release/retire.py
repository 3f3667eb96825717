"""Drop former releases beyond those kept for roll-back."""

import logging

from rayreel.index.alias import IndexInUse, aliases_of, collections, drop_collection
from rayreel.release import audit
from rayreel.release.lease import Held, build_lease
from rayreel.release.rows import ReleaseRows
from rayreel.release.site import Site

log = logging.getLogger(__name__)


def retire(site: Site) -> list[int]:
    """Drop collections, rows and snapshots of all but the last `release.keep` former releases; returns their versions.

    Releases with an alias are never dropped. Neither are versions newer than the serving one that were never promoted,
    since they may be under construction. A release that another process is working on, such as a roll-back, is left to
    the next promotion.
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
    """Drop a release unless another process is working on it or it serves again; returns whether it was dropped."""
    try:
        with site.lease(build_lease(version), f"drops release {version}"):
            drop_collection(site.client, name, site.index.timeout_s)
            ReleaseRows(site.storage, version).drop()
    except (Held, IndexInUse) as busy:
        log.info("release %d is not dropped yet: %s", version, busy)
        return False
    return True
