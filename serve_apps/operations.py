"""What operators look at: the audit trail, the quarantine, and where Ray and MLflow show more. Trying it again."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from rayreel.client.operation import Job, Operations, Quarantined, ReleaseEvent, ReplicaLoad
from rayreel.compat.ray_cluster import job_server_url
from rayreel.features.retrying import retriable
from rayreel.features.store import open_store
from rayreel.redact import redacted
from rayreel.release import audit, registry
from rayreel.release.process import who
from rayreel.settings import Settings
from rayreel.training.tracking import use_tracking
from serve_apps.batch import Catalogs
from serve_apps.problems import NotFound

MOST_EVENTS = 100
MOST_QUARANTINED = 100


def operations(settings: Settings, version: int, jobs: list[Job] | None, replica: ReplicaLoad) -> Operations:
    """Read the audit trail and the quarantine of the encoders of a release, and add the given figures. Blocks."""
    rows = _quarantine(settings, version)
    reasons = Counter(rows["reason"].to_pylist())
    newest = rows.sort_by([("at", "descending")]).slice(0, MOST_QUARANTINED)
    again = set(retriable(newest)["video_id"].to_pylist())
    return Operations(
        events=[_event(event) for event in reversed(audit.events()[-MOST_EVENTS:])],
        quarantined=rows.num_rows,
        reasons=dict(reasons.most_common()),
        quarantine=[_quarantined(row, again=row["video_id"] in again) for row in newest.to_pylist()],
        jobs=jobs,
        replica=replica,
        links=_links(settings),
    )


def retry_quarantined(
    settings: Settings, version: int, catalogs: Catalogs, video_ids: Sequence[str], key_id: str | None
) -> Job:
    """Queue a job that tries quarantined videos of a release again, and record that. Raises NotFound, Busy. Blocks."""
    can_be_retried = set(retriable(_quarantine(settings, version))["video_id"].to_pylist())
    if unknown := sorted(set(video_ids) - can_be_retried):
        raise NotFound(f"Not in quarantine, or with a reason that another try cannot change: {', '.join(unknown)}.")
    if not can_be_retried:
        raise NotFound("No video in quarantine can be tried again.")
    job = catalogs.retry(video_ids)
    which = ", ".join(video_ids) or f"all {len(can_be_retried)} that can be"
    audit.quarantine_retried(version, f"key {key_id}" if key_id else who(), f"{job.id}: {which}")
    return job


def _quarantine(settings: Settings, version: int) -> pa.Table:
    return open_store(settings.place, registry.resolve(str(version)).encoder_key).quarantined()


def _event(event: dict[str, Any]) -> ReleaseEvent:
    before, reason = event.get("from"), event.get("reason") or event.get("forced_reason") or ""
    return ReleaseEvent(
        event=event["event"],
        at=event["at"],
        by=event["by"],
        version=event["version"],
        before=None if before is None else int(before),
        reason=reason,
    )


def _quarantined(row: dict[str, Any], *, again: bool) -> Quarantined:
    known = {name: row[name] or "" for name in ("video_id", "stage", "reason")}
    return Quarantined(**known, detail=redacted(row["detail"] or ""), at=row["at"].isoformat(), retriable=again)


def _links(settings: Settings) -> dict[str, str]:
    grafana = settings.serve.grafana_url or ""
    addresses = {"ray": job_server_url(), "mlflow": use_tracking(settings.place), "grafana": grafana}
    return {name: address for name, address in addresses.items() if address.startswith("http")}
