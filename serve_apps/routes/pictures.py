"""Pictures and originals of the release's videos. Only content that was indexed is sent, and no other file."""

import asyncio
import base64
import hashlib
import mimetypes
import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from rayreel.catalog.source import is_remote, local_path
from rayreel.deadline import Deadline
from rayreel.failures import Rejected
from rayreel.media.pictures import PictureKind, media_type
from rayreel.media.source import open_file
from rayreel.release.rows import VideoRow
from rayreel.remote.signed import browser_address
from serve_apps.limits import STREAMED
from serve_apps.problems import NotFound, answers
from serve_apps.service import CurrentService, Service

router = APIRouter(tags=["videos"])
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": _BYTES, "image/webp": _BYTES}}}
_MEDIA: dict[int | str, dict[str, Any]] = {
    200: {"content": {"video/*": _BYTES}},
    206: {"description": "The range that was asked for."},
    302: {"description": "The video is elsewhere."},
}
_HASHING_S = 600.0


@router.get("/v1/videos/{video_id:path}/poster", response_class=Response, responses=_PICTURE | answers(404, 503))
async def poster(video_id: str, request: Request, service: CurrentService) -> Response:
    """Return a picture of a video, square: the decoded frame with the most content."""
    return await _picture(video_id, PictureKind.POSTER, request, service)


@router.get("/v1/videos/{video_id:path}/sheet", response_class=Response, responses=_PICTURE | answers(404, 503))
async def sheet(video_id: str, request: Request, service: CurrentService) -> Response:
    """Return up to 8 frames of a video side by side in time order, each square."""
    return await _picture(video_id, PictureKind.SHEET, request, service)


@router.get("/v1/videos/{video_id:path}/media", response_class=Response, responses=_MEDIA | answers(404, 503))
async def media(video_id: str, request: Request, service: CurrentService) -> Response:
    """Return the original video, or a range of it. Redirects to where a remote one can be read."""
    row = _row(service, video_id)
    if not service.settings.serve.originals or not row.has_video:
        raise NotFound("The original is not available: it is text only, or serve.originals is off.")
    if is_remote(row.uri):
        address = await service.calling(browser_address, row.uri)
        if address is None:
            raise NotFound("The original can be read by the service only.")
        return RedirectResponse(address, 302, {"cache-control": "private, max-age=600"})
    path, tag = Path(local_path(row.uri)), _tag(row, "media")
    if not await service.calling(_is_original, path, row):
        raise NotFound("The original is no longer where it was, or has changed since it was indexed.")
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=_cached(request, tag))
    request.scope[STREAMED] = True
    return FileResponse(path, media_type=_video_type(path), headers=_cached(request, tag))


@router.get("/v1/map", response_class=HTMLResponse, responses=answers(404, 503))
async def video_map(request: Request, service: CurrentService) -> Response:
    """Return the map that `rayreel map` has made: a page of its own."""
    place = service.settings.place
    content = await asyncio.to_thread(place.read, place.path("maps", "map.html"))
    if content is None:
        raise NotFound("There is no map yet. Make one with `rayreel map`.")
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache", "content-security-policy": await _policy(content)}
    unchanged = request.headers.get("if-none-match") == tag
    return Response(status_code=304, headers=headers) if unchanged else HTMLResponse(content, headers=headers)


async def _policy(page: bytes) -> str:
    """Return a policy that allows exactly the scripts of a page.

    Plotly writes styles into the page, and compiles functions to draw with WebGL.
    """
    scripts = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    digests = await asyncio.to_thread(lambda: [hashlib.sha256(script).digest() for script in scripts])
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    rest = "style-src 'unsafe-inline'; img-src data: blob:; frame-ancestors 'none'"
    return f"default-src 'none'; script-src {allowed} 'unsafe-eval'; {rest}"


async def _picture(video_id: str, kind: PictureKind, request: Request, service: Service) -> Response:
    row = _row(service, video_id)
    if row.content_hash is None:
        raise NotFound("No pictures of this video are kept.")
    headers = _cached(request, _tag(row, kind.value))
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    content = await asyncio.to_thread(service.pictures.read, row.content_hash, kind)
    if content is None:
        raise NotFound("No pictures of this video are kept. Extract it again to make them.")
    return Response(content, media_type=media_type(content), headers=headers)


def _row(service: Service, video_id: str) -> VideoRow:
    live = service.state.current.live
    return live.row(live.place(video_id))


def _tag(row: VideoRow, kind: str) -> str:
    return f'"{kind}-{row.content_hash}"'


def _cached(request: Request, tag: str) -> dict[str, str]:
    """Return headers for a browser's cache. An address with the content's version never changes its content."""
    lasting = "max-age=31536000, immutable" if "v" in request.query_params else "no-cache"
    return {"etag": tag, "cache-control": f"private, {lasting}"}


def _video_type(path: Path) -> str:
    """Return a video's media type by its name; browsers look at the content of videos themselves."""
    found = mimetypes.guess_type(path.name)[0] or ""
    return found if found.startswith("video/") else "video/mp4"


def _is_original(path: Path, row: VideoRow) -> bool:
    """Whether a file has the content that was indexed. Hashes a file once, and again if it changes."""
    try:
        found = path.stat()
    except OSError:
        return False
    identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return row.content_hash is not None and _sha256(os.fspath(path), identity) == row.content_hash


@lru_cache(4096)
def _sha256(path: str, identity: tuple[int, ...]) -> str | None:
    check: Callable[[], None] = Deadline(_HASHING_S).check
    with open_file(Path(path)) as file:
        return None if isinstance(file, Rejected) else file.sha256(check)
