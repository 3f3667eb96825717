"""Health and readiness of the service, and what operators look at and do."""

from fastapi import APIRouter, Request, Response

from rayreel.client.operation import Following, Job, Operations, Ready, RetryRequest
from rayreel.release.following import FollowStatus
from serve_apps.operations import operations, retry_quarantined
from serve_apps.problems import Unavailable, answers
from serve_apps.service import CurrentService, Service
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
    """Return jobs, load, the audit trail of releases, and the videos in quarantine with their reasons."""
    version, load = service.state.current.version, service.metrics.load(service.state.looked_s)
    return await service.calling(operations, service.settings, version, await _jobs(service), load)


@router.post("/v1/quarantine/retry", status_code=202, responses=answers(404, 422, 429, 503, 504))
async def retry(which: RetryRequest, request: Request, response: Response, service: CurrentService) -> Job:
    """Start a job that tries quarantined videos again and adds those that can be used now.

    Titles and other columns are those of the catalog that they came from. `GET /v1/jobs/{id}` shows its progress.
    """
    key, version = getattr(request.state, "key_id", None), service.state.current.version
    job = await service.calling(retry_quarantined, service.settings, version, service.catalogs, which.video_ids, key)
    response.headers["Location"] = str(request.url_for("job", job_id=job.id).path)
    return job


async def _jobs(service: Service) -> list[Job] | None:
    """Return the jobs; None while Ray does not list them, which is no reason to hide everything else."""
    try:
        return await service.calling(service.catalogs.listed)
    except Unavailable:  # logged
        return None


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
