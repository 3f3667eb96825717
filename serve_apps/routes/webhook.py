"""Webhook for MLflow's server."""

import asyncio

from fastapi import APIRouter, Request, Response

from rayreel.release.follower import nudge_follower
from serve_apps.problems import NotFound, answers
from serve_apps.service import CurrentService

router = APIRouter(tags=["releases"])


@router.post("/v1/mlflow/webhook", status_code=204, responses=answers(401, 404))
async def champion_moved(service: CurrentService, request: Request) -> Response:
    """Receive MLflow's webhook for `model_version_alias`, signed with release.webhook_secret; check the champion."""
    if service.deliveries is None:
        raise NotFound("The webhook is disabled: release.webhook_secret is not set.")
    if service.deliveries.moves_champion(request.headers, await request.body()):
        await asyncio.to_thread(nudge_follower, service.settings.place)
    return Response(status_code=204)
