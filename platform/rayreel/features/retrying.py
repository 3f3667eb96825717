"""Videos in quarantine that can be tried again, with the rows of the catalogs that they came from."""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from rayreel.catalog.columns import to_videos
from rayreel.catalog.read import Catalog
from rayreel.failures import Reason
from rayreel.features.store import FeatureStore


def retriable(quarantined: pa.Table) -> pa.Table:
    """Return the rows of a quarantine that may be different now: the catalog row is valid and its address allowed.

    A client's catalog may name any local file; that it was refused must hold without the client's limits.
    """
    has_row = pc.is_valid(quarantined["extra"])
    allowed = pc.not_equal(quarantined["reason"], Reason.PATH_NOT_ALLOWED.value)
    return quarantined.filter(pc.and_(has_row, allowed))


def quarantined_catalog(store: FeatureStore, only: Collection[str] = ()) -> Catalog:
    """Return the videos in quarantine that can be tried again, or `only` these of them, as a catalog."""
    rows = retriable(store.quarantined())
    if only:
        rows = rows.filter(pc.is_in(rows["video_id"], value_set=pa.array(sorted(only), pa.string())))
    return Catalog(store.quarantine, to_videos(rows))
