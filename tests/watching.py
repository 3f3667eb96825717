"""Synthetic interactions."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from rayreel.catalog.interactions import SCHEMA

START = datetime(2026, 1, 1, tzinfo=UTC)


def watched(*watches: tuple[str, str, float], rating: float | None = None) -> pa.Table:
    """Return interactions from (user, video, seconds since START), all with the same rating or none."""
    rows = [
        {"user_id": user, "video_id": video, "timestamp": START + timedelta(seconds=seconds), "rating": rating}
        for user, video, seconds in watches
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)
