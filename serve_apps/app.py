"""The application: gateway in front, encode and search behind it."""

from pathlib import Path

from pydantic import BaseModel
from ray.serve import Application

from rayreel.settings import load_settings
from serve_apps.encode import Encode
from serve_apps.gateway import Gateway
from serve_apps.search import Search


class AppArgs(BaseModel):
    """`args` in config.yaml: the same three sources of settings that every job takes."""

    config: Path | None = None
    sets: list[str] = []
    storage: str | None = None


def build(args: AppArgs) -> Application:
    """Bind the deployments; settings are resolved here, on the cluster."""
    settings = load_settings(args.config, args.sets, args.storage)
    return Gateway.bind(Encode.bind(settings), Search.bind(settings))  # type: ignore[attr-defined]
