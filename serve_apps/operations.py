"""What operators look at: the audit trail, the quarantine, and where Ray and MLflow show more."""

from collections import Counter
from typing import Any

from rayreel.client.operation import Job, Operations, Quarantined, ReleaseEvent, ReplicaLoad
from rayreel.compat.ray_cluster import job_server_url
from rayreel.features.store import open_store
from rayreel.redact import redacted
from rayreel.release import audit, registry
from rayreel.settings import Settings
from rayreel.training.tracking import use_tracking

MOST_EVENTS = 100
MOST_QUARANTINED = 100


def operations(settings: Settings, version: int, jobs: list[Job] | None, replica: ReplicaLoad) -> Operations:
    """Read the audit trail and the quarantine of the encoders of a release, and add the given figures. Blocks."""
    rows = open_store(settings.place, registry.resolve(str(version)).encoder_key).quarantined()
    reasons = Counter(rows["reason"].to_pylist())
    newest = rows.sort_by([("at", "descending")]).slice(0, MOST_QUARANTINED)
    return Operations(
        events=[_event(event) for event in reversed(audit.events()[-MOST_EVENTS:])],
        quarantined=rows.num_rows,
        reasons=dict(reasons.most_common()),
        quarantine=[_quarantined(row) for row in newest.to_pylist()],
        jobs=jobs,
        replica=replica,
        links=_links(settings),
    )


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


def _quarantined(row: dict[str, Any]) -> Quarantined:
    known = {name: row[name] or "" for name in ("video_id", "stage", "reason")}
    return Quarantined(**known, detail=redacted(row["detail"] or ""), at=row["at"].isoformat())


def _links(settings: Settings) -> dict[str, str]:
    grafana = settings.serve.grafana_url or ""
    addresses = {"ray": job_server_url(), "mlflow": use_tracking(settings.place), "grafana": grafana}
    return {name: address for name, address in addresses.items() if address.startswith("http")}
