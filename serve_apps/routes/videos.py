"""The videos of the serving release: list, show, add and delete. Jobs that add catalogs."""

import base64
import binascii
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from rayreel.client.messages import BatchRequest, Deleted, Facets, NewVideo, Video, VideoPage
from rayreel.client.operation import Job
from rayreel.index.filters import Filter, parse_filter
from rayreel.media.fetch import refuse_foreign
from rayreel.recommendation.facets import facets_of
from serve_apps.content import content_of
from serve_apps.forms import file_of, form_of, message_of, valid
from serve_apps.problems import BadVideo, answers, problem
from serve_apps.service import CurrentService
from serve_apps.shown import video_of

router = APIRouter(tags=["videos"])
jobs = APIRouter(tags=["jobs"])

CONFIRM = "delete-all-videos"
_ADD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": NewVideo.model_json_schema()},
            **form_of(NewVideo, without=("uri",)),
        },
    }
}


@router.post(
    "/v1/videos",
    status_code=201,
    response_model=Video,
    openapi_extra=_ADD_BODY,
    responses=answers(413, 415, 422, 429, 503, 504),
)
async def add(request: Request, service: CurrentService) -> Response:
    """Add a video by its URI (JSON) or by uploading it (multipart), or replace the one with the same id.

    The video is searchable when the response arrives.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=100) as form:
            file, new = file_of(form), message_of(NewVideo, form, uri="uploaded")
            with content_of(file) as content:
                video_id = await service.writing.add(new, content, file.filename or "")
    elif kind == "application/json":
        body = await request.body()
        video_id = await service.writing.add(valid(lambda: NewVideo.model_validate_json(body)))
    else:
        return problem(
            415,
            "Unsupported content type. Send application/json with a uri, or multipart/form-data with a file.",
            request,
        )
    live = service.state.current.live
    video = video_of(live.row(live.place(video_id)))
    return JSONResponse(video.model_dump(), 201, {"Location": str(request.url_for("show", video_id=video_id).path)})


@router.post("/v1/videos/batch", status_code=202, responses=answers(422, 429, 503, 504))
async def add_catalog(batch: BatchRequest, request: Request, response: Response, service: CurrentService) -> Job:
    """Start a job that adds the videos of a catalog (folder or manifest). `GET /v1/jobs/{id}` shows its progress.

    One job runs at a time; others are QUEUED.
    """
    if (refused := await service.calling(refuse_foreign, batch.catalog, service.settings.limits)) is not None:
        raise BadVideo(f"{refused.reason}: {refused.detail}")
    job = await service.calling(service.catalogs.add, batch.catalog)
    response.headers["Location"] = str(request.url_for("job", job_id=job.id).path)
    return job


@jobs.get("/v1/jobs/{job_id}", responses=answers(404, 503, 504))
async def job(job_id: str, service: CurrentService) -> Job:
    """Return the status of a job and the end of its output."""
    return await service.calling(service.catalogs.look, job_id)


@jobs.delete("/v1/jobs/{job_id}", status_code=204, responses=answers(404, 503, 504))
async def cancel(job_id: str, service: CurrentService) -> Response:
    """Remove a job from the queue, or stop it. Videos that it has added stay."""
    await service.calling(service.catalogs.cancel, job_id)
    return Response(status_code=204)


@router.get("/v1/videos", responses=answers(422, 503))
async def page(
    service: CurrentService,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of videos per page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=4096, description="`next_cursor` of the previous page.")] = None,
    filter: Annotated[str | None, Query(max_length=8192, description="Conditions as JSON, as in a query.")] = None,
) -> VideoPage:
    """List all videos by id, or those that satisfy a filter, in pages.

    Videos that are added or deleted meanwhile may or may not be listed. All others are listed exactly once.
    """
    live, condition = service.state.current.live, _condition(filter)
    rows = await service.searching(live.page, _decode_cursor(cursor), limit + 1, condition)
    following = _encode_cursor(rows[limit - 1].video_id) if len(rows) > limit else None
    return VideoPage(videos=[video_of(row) for row in rows[:limit]], next_cursor=following)


@router.get("/v1/facets", responses=answers(429, 503))
async def facets(service: CurrentService) -> Facets:
    """Return the categories, tags, durations and metadata of all videos, for filters."""
    live = service.state.current.live
    if service.facets is None or service.facets[0] != live.state:
        service.facets = live.state, await service.searching(facets_of, live)
    return service.facets[1]


@router.delete("/v1/videos", responses=answers(422, 429, 503, 504))
async def delete_all(
    service: CurrentService, confirm: Annotated[str, Query(description=f"Must be `{CONFIRM}`.", pattern=f"^{CONFIRM}$")]
) -> Deleted:
    """Delete every video."""
    live = service.state.current.live
    return Deleted(deleted=len(await service.writing.delete([row.video_id for row in live.page("", len(live))])))


@router.get("/v1/videos/{video_id:path}", responses=answers(404, 503))
async def show(video_id: str, service: CurrentService) -> Video:
    """Return a video."""
    live = service.state.current.live
    return video_of(live.row(live.place(video_id)))


@router.delete("/v1/videos/{video_id:path}", status_code=204, responses=answers(404, 429, 503, 504))
async def delete(video_id: str, service: CurrentService) -> Response:
    """Delete a video."""
    live = service.state.current.live
    live.place(video_id)
    await service.writing.delete([video_id])
    return Response(status_code=204)


def _condition(text: str | None) -> Filter | None:
    try:
        return None if text is None else parse_filter(json.loads(text))
    except (ValueError, RecursionError):
        raise BadVideo('filter: expected JSON, such as {"category": "sport"}.') from None


def _encode_cursor(video_id: str) -> str:
    return base64.urlsafe_b64encode(video_id.encode()).decode()


def _decode_cursor(cursor: str | None) -> str:
    try:
        return "" if cursor is None else base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise BadVideo("Invalid cursor. Pass the `next_cursor` value from a previous response.") from None
