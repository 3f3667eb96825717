"""Build the web page from web/ into serve_apps/page, with types from the API's own description. Needs Node.js 20.

The built page is kept in the repository, so that running it needs no Node.js. A digest of its source is kept beside
it, which a test compares.
"""

import hashlib
import json
import subprocess
from pathlib import Path

from fastapi import FastAPI

from serve_apps.api import ROUTERS
from serve_apps.security import describe_middleware

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
BUILT = ROOT / "serve_apps" / "page"
# Made from others, and not kept in the repository.
_MADE = {"openapi.json", "schema.d.ts"}


def digest() -> str:
    """Return a digest of the page's source: names and content of all files that are kept in the repository."""
    total = hashlib.sha256()
    for path in sorted(WEB.rglob("*")):
        name = path.relative_to(WEB).as_posix()
        if path.is_file() and path.name not in _MADE and not name.startswith("node_modules/"):
            total.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def build() -> None:
    """Write the description of the API, make types of it, check and build the page."""
    (WEB / "openapi.json").write_text(_described())
    if not (WEB / "node_modules").exists():
        _npm("install", "--package-lock=false")
    for step in ("types", "check", "build"):
        _npm("run", step)
    (BUILT / "source.sha256").write_text(f"{digest()}\n")


def _described() -> str:
    api = FastAPI(title="rayreel")
    for router in ROUTERS:
        api.include_router(router)
    describe_middleware(api)
    return json.dumps(api.openapi())


def _npm(*words: str) -> None:
    subprocess.run(["npm", *words], cwd=WEB, check=True)  # noqa: S607 - the user's own npm


if __name__ == "__main__":
    build()
