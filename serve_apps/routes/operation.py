"""Health and readiness of the service."""

from fastapi import APIRouter

from rayreel.client.messages import Following, Operations, Ready
from rayreel.release.following import FollowStatus
from serve_apps.operations import operations
from serve_apps.problems import Unavailable, answers
from serve_apps.service import CurrentService
from serve_apps.state import NO_INDEX

router = APIRouter(tags=["operation"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Report that the service is running."""
    return {"status": "ok"}


@router.get("/readyz", responses=answers(503))
async def readyz(service: CurrentService) -> Ready:
    """Return the serving release if its index and its tower are available, so that all kinds of queries work."""
    serving = service.state.current
    if not service.state.index_is_up:
        raise Unavailable(NO_INDEX)
    await service.load_tower(serving.version)
    if service.no_tower is not None:
        raise Unavailable(service.no_tower)
    facts = dict(service.encoder_facts)
    return Ready(
        release=serving.version,
        index_size=len(serving.live),
        device=facts.pop("device"),
        encoders=facts,
        following=_public(service.state.following),
    )


@router.get("/v1/operations", responses=answers(503))
async def operated(service: CurrentService) -> Operations:
    """Return the audit trail of releases, and the videos in quarantine with their reasons."""
    return await service.calling(operations, service.settings, service.state.current.version)


def _public(found: FollowStatus | None) -> Following | None:
    """Return the status without details that are for operators only."""
    if found is None:
        return None
    return Following(
        state=found.state.value,
        mode=found.mode,
        wanted=found.wanted,
        reason=found.reason,
        gates=list(found.gates),
        looked_at=found.looked_at or None,
    )
