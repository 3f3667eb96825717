"""Which release serves, and which have served."""

from fastapi import APIRouter

from rayreel.client.messages import Release
from rayreel.index.collection import collection_name
from rayreel.release import audit
from rayreel.release.snapshot import snapshot_pointer
from rayreel.settings import Settings
from serve_apps.problems import Unavailable, answers
from serve_apps.service import Asked
from serve_apps.state import Serving

router = APIRouter(tags=["releases"])


@router.get("/v1/release", responses=answers(503))
async def release(service: Asked) -> Release:
    """The release that serves."""
    serving = service.state.current
    known = service.promotions.get(serving.version)
    if known is None:
        service.promotions = {entry.version: entry for entry in await service.talking(_releases, service.settings)}
        known = service.promotions.get(serving.version)
    if known is None:
        raise Unavailable("The registry does not know the release that serves yet.")
    return _now(known, serving)


@router.get("/v1/releases", responses=answers(503))
async def releases(service: Asked) -> list[Release]:
    """Every release that has served, the last promoted first."""
    serving = service.state.current
    return [_now(entry, serving) for entry in await service.talking(_releases, service.settings)]


def _now(known: Release, serving: Serving) -> Release:
    """The index says what serves; the registry follows it by a moment."""
    if known.version != serving.version:
        return known.model_copy(update={"champion": False})
    return known.model_copy(update={"champion": True, "size": len(serving.live)})


def _releases(settings: Settings) -> list[Release]:
    return [
        Release(
            version=entry.version,
            collection=collection_name(entry.version),
            promoted_at=entry.promoted_at,
            promoted_by=entry.promoted_by,
            metrics=entry.metrics,
            forced_reason=entry.forced_reason,
            champion=entry.champion,
            size=(snapshot_pointer(settings.place, entry.version) or {}).get("videos"),
        )
        for entry in audit.history()
    ]
