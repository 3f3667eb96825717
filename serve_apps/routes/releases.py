"""The serving release and its predecessors, and the webhook by which MLflow reports a new champion."""

import asyncio

from fastapi import APIRouter, Request, Response

from rayreel.client.operation import GateResult, KeptRelease, Release
from rayreel.index.collection import collection_name
from rayreel.release import audit, registry
from rayreel.release.follower import nudge_follower
from rayreel.release.rollback import roll_back
from rayreel.release.snapshot import snapshot_pointer
from rayreel.settings import Settings
from serve_apps.problems import NotFound, Unavailable, answers
from serve_apps.service import CurrentService
from serve_apps.serving import Serving

router = APIRouter(tags=["releases"])


@router.get("/v1/release", responses=answers(503))
async def release(service: CurrentService) -> Release:
    """Return the serving release."""
    serving = service.state.current
    known = service.promotions.get(serving.version)
    if known is None:
        service.promotions = {entry.version: entry for entry in await service.calling(_releases, service.settings)}
        known = service.promotions.get(serving.version)
    if known is None:
        raise Unavailable("The registry has no record of the serving release yet. Try again in a few seconds.")
    return _with_state(known, serving)


@router.get("/v1/releases", responses=answers(503))
async def releases(service: CurrentService) -> list[Release]:
    """List all releases that have served, most recently promoted first."""
    serving = service.state.current
    return [_with_state(entry, serving) for entry in await service.calling(_releases, service.settings)]


@router.get("/v1/releases/kept", responses=answers(503))
async def kept_releases(service: CurrentService) -> list[KeptRelease]:
    """List the releases that requests can name in `release`, newest version first."""
    kept, serving = await service.state.kept(), service.state.current.version
    tags = await service.calling(registry.tags_of_all) if len(kept) > 1 else {}
    return [
        KeptRelease(
            version=version,
            serving=version == serving,
            kind=tags.get(version, {}).get("kind", ""),
            promoted_at=tags.get(version, {}).get("promoted_at"),
        )
        for version in reversed(kept)
    ]


@router.post("/v1/releases/rollback", responses=answers(409, 429, 503, 504))
async def roll_back_release(request: Request, service: CurrentService) -> Release:
    """Roll back to the previous release, as `rayreel promote --rollback` does, and return it."""
    work = service.calling(_roll_back, service.settings, getattr(request.state, "key_id", None))
    # Once started, it is completed even if the client disconnects.
    await asyncio.shield(asyncio.ensure_future(work))
    await service.announce()
    service.promotions = {}
    return await release(service)


def _roll_back(settings: Settings, key_id: str | None) -> None:
    roll_back(settings.site(), by=f"key {key_id}" if key_id else None)


def _with_state(known: Release, serving: Serving) -> Release:
    """Return the release with the current state of this replica, which may be ahead of the registry."""
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
            gates=[GateResult.model_validate(gate) for gate in entry.gates],
            rolled_back_at=entry.rolled_back_at,
            size=(snapshot_pointer(settings.place, entry.version) or {}).get("videos"),
        )
        for entry in audit.history()
    ]


@router.post("/v1/mlflow/webhook", status_code=204, responses=answers(401, 404))
async def champion_moved(service: CurrentService, request: Request) -> Response:
    """Receive MLflow's webhook for `model_version_alias`, signed with release.webhook_secret; check the champion."""
    if service.deliveries is None:
        raise NotFound("The webhook is disabled: release.webhook_secret is not set.")
    if service.deliveries.moves_champion(request.headers, await request.body()):
        await asyncio.to_thread(nudge_follower, service.settings.place)
    return Response(status_code=204)
