"""The videos of the serving release: listed, shown, added, deleted."""

import base64
import binascii
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from rayreel.catalog.source import is_remote
from rayreel.client.messages import BatchRequest, Deleted, Job, NewVideo, Video, VideoPage
from rayreel.media.fetch import refuse_foreign
from rayreel.redact import public_address
from rayreel.release.rows import VideoRow
from serve_apps import batch
from serve_apps.problems import BadVideo, answers, invalid, problem
from serve_apps.service import Asked

router = APIRouter(tags=["videos"])
jobs = APIRouter(tags=["jobs"])

CONFIRM = "delete-all-videos"
_SENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": NewVideo.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "A video file."},
                        "video_id": {"type": "string", "minLength": 1, "maxLength": 512, "pattern": r"\S"},
                        "title": {"type": "string", "maxLength": 2000},
                        "description": {"type": "string", "maxLength": 20_000},
                        "category": {"type": "string", "maxLength": 200},
                        "tags": {"type": "array", "items": {"type": "string"}, "description": "May be repeated."},
                        "metadata": {"type": "string", "description": "A JSON object."},
                        "created_at": {"type": "number", "description": "Seconds since 1970."},
                    },
                }
            },
        },
    }
}


@router.post(
    "/v1/videos",
    status_code=201,
    response_model=Video,
    openapi_extra=_SENT,
    responses=answers(413, 415, 422, 429, 503, 504),
)
async def add(request: Request, service: Asked) -> Response:
    """Add a video, by its address (JSON) or by uploading it (multipart); a known id is replaced. Searchable at once."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    content, name = None, ""
    try:
        if kind == "multipart/form-data":
            async with request.form(max_files=1, max_fields=100) as form:
                new, content, name = await _uploaded(form)
        elif kind == "application/json":
            new = NewVideo.model_validate_json(await request.body())
        else:
            return problem(415, "Send application/json with a uri, or multipart/form-data with a file.", request)
    except ValidationError as error:
        return invalid(request, list(error.errors()))
    video_id = await service.writing.add(new, content, name)
    live = service.state.current.live
    shown = _shown(live.row(live.place(video_id)))
    return JSONResponse(shown.model_dump(), 201, {"Location": str(request.url_for("show", video_id=video_id).path)})


@router.post("/v1/videos/batch", status_code=202, responses=answers(422, 429, 503, 504))
async def add_catalog(asked: BatchRequest, request: Request, response: Response, service: Asked) -> Job:
    """Start a job that adds the videos of a catalog (folder or manifest); `GET /v1/jobs/{id}` tells how far it is."""
    limits = service.settings.limits
    if (refused := await service.talking(refuse_foreign, asked.catalog, limits)) is not None:
        raise BadVideo(f"{refused.reason}: {refused.detail}")
    words = [*service.job_words, *batch.from_outside()]
    job = await service.talking(batch.start, asked.catalog, words)
    response.headers["Location"] = str(request.url_for("job", job_id=job.id).path)
    return job


@jobs.get("/v1/jobs/{job_id}", responses=answers(404, 503, 504))
async def job(job_id: str, service: Asked) -> Job:
    """How far a job is."""
    return await service.talking(batch.look, job_id)


@router.get("/v1/videos", responses=answers(422, 503))
async def page(
    service: Asked,
    limit: Annotated[int, Query(ge=1, le=1000, description="Videos of a page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=4096, description="Where the page before ended.")] = None,
) -> VideoPage:
    """All videos by id, page by page. Videos that come or go meanwhile are seen or not; no other is missed or twice."""
    rows = service.state.current.live.page(_place_of(cursor), limit + 1)
    following = _cursor(rows[limit - 1].video_id) if len(rows) > limit else None
    return VideoPage(videos=[_shown(row) for row in rows[:limit]], next_cursor=following)


@router.delete("/v1/videos", responses=answers(422, 429, 503, 504))
async def delete_all(
    service: Asked, confirm: Annotated[str, Query(description=f"Must be `{CONFIRM}`.", pattern=f"^{CONFIRM}$")]
) -> Deleted:
    """Delete every video."""
    live = service.state.current.live
    return Deleted(deleted=len(await service.writing.delete([row.video_id for row in live.page("", len(live))])))


@router.get("/v1/videos/{video_id:path}", responses=answers(404, 503))
async def show(video_id: str, service: Asked) -> Video:
    """One video."""
    live = service.state.current.live
    return _shown(live.row(live.place(video_id)))


@router.delete("/v1/videos/{video_id:path}", status_code=204, responses=answers(404, 429, 503, 504))
async def delete(video_id: str, service: Asked) -> Response:
    """Delete one video."""
    live = service.state.current.live
    live.place(video_id)
    await service.writing.delete([video_id])
    return Response(status_code=204)


async def _uploaded(form: FormData) -> tuple[NewVideo, bytes, str]:
    """The fields, the content and the file's name. Raises ValidationError, BadVideo."""
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise BadVideo("file: the form has no file of that name.")
    fields: dict[str, Any] = {key: value for key, value in form.items() if key not in {"file", "tags"}}
    fields["tags"] = form.getlist("tags")
    for name in ("metadata", "created_at"):
        if name in fields:
            fields[name] = _json(name, fields[name])
    return NewVideo.model_validate({**fields, "uri": "uploaded"}), await file.read(), file.filename or ""


def _json(name: str, text: Any) -> Any:  # noqa: ANN401 - whatever a form holds
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise BadVideo(f"{name}: expected JSON.") from None


def _shown(row: VideoRow) -> Video:
    return Video(
        video_id=row.video_id,
        title=row.title or "",
        description=row.description or "",
        category=row.category or "",
        tags=list(row.tags),
        metadata=row.extra,
        uri=public_address(row.uri) if is_remote(row.uri) else None,
        created_at=row.created_at,
        duration_s=row.duration_s,
    )


def _cursor(video_id: str) -> str:
    return base64.urlsafe_b64encode(video_id.encode()).decode()


def _place_of(cursor: str | None) -> str:
    try:
        return "" if cursor is None else base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise BadVideo("cursor: it is none that this service gave.") from None
