"""The web page: a few static files, built from web/ and kept in memory. They contain nothing of any video."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from serve_apps.problems import NotFound

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).parents[1] / "page"
# Everything comes from this service, except videos that are elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' https: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page, as it is and compressed."""

    content: bytes
    compressed: bytes
    kind: str
    tag: str


@router.get("/")
@router.get("/status")
async def page(request: Request) -> Response:
    """Return the page. It decides by its path and query what it shows."""
    return _answer(request, "index.html", "no-cache")


@router.get("/map")
async def map_page() -> Response:
    """Redirect to the map, which needs a key like other content of the release."""
    return RedirectResponse("v1/map")


@router.get("/assets/{name}")
async def asset(name: str, request: Request) -> Response:
    """Return a script or style of the page. Its name changes with its content."""
    return _answer(request, f"assets/{name}", "public, max-age=31536000, immutable")


def _answer(request: Request, name: str, lasting: str) -> Response:
    file = _files().get(name)
    if file is None:
        raise NotFound("Not Found")
    # Browsers take the policy of an unchanged page from the response that says so.
    headers = {
        "etag": file.tag,
        "cache-control": lasting,
        "vary": "accept-encoding",
        "content-security-policy": _POLICY,
    }
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.content, media_type=file.kind, headers=headers)
    return Response(file.compressed, media_type=file.kind, headers=headers | {"content-encoding": "gzip"})


@cache
def _files() -> dict[str, PageFile]:
    paths = [path for path in FOLDER.rglob("*") if path.is_file()]
    return {path.relative_to(FOLDER).as_posix(): _file(path) for path in paths}


def _file(path: Path) -> PageFile:
    content = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return PageFile(content, gzip.compress(content, mtime=0), kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
