"""Whether the service runs, and whether it can answer."""

from fastapi import APIRouter

from rayreel.client.messages import Following, Ready
from rayreel.release import following as state
from serve_apps.problems import Unavailable, answers
from serve_apps.service import Asked

router = APIRouter(tags=["operation"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the service runs."""
    return {"status": "ok"}


@router.get("/readyz", responses=answers(503))
async def readyz(service: Asked) -> Ready:
    """Whether every kind of query can be answered: a release, its index and its tower are there; 503 while not."""
    serving = service.state.current
    if not service.state.index_is_up:
        raise Unavailable("The index does not answer.")
    await service.ask_for_tower(serving.version)
    if service.no_tower is not None:
        raise Unavailable(service.no_tower)
    facts = dict(service.facts)
    return Ready(
        release=serving.version,
        index_size=len(serving.live),
        device=facts.pop("device"),
        encoders=facts,
        following=_shown(service.state.following),
    )


def _shown(found: state.Following | None) -> Following | None:
    """Without what is for operators only."""
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
