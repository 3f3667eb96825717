"""The Serve application: the deployment `search` with the HTTP API, which calls the deployment `encode`."""

from pathlib import Path

from pydantic import BaseModel
from ray.serve import Application

from rayreel.settings import load_settings
from serve_apps.encode import Encode
from serve_apps.search import Search


class AppArgs(BaseModel):
    """`args` in config.yaml: the three sources of settings that every job accepts, and the commit of the code."""

    config: Path | None = None
    sets: list[str] = []
    storage: str | None = None
    commit: str | None = None

    def job_words(self) -> list[str]:
        """Return the same settings as arguments of a job's command line."""
        named = [("--config", self.config), ("--storage", self.storage), *(("--set", item) for item in self.sets)]
        return [word for name, value in named if value is not None for word in (name, str(value))]


def build(args: AppArgs) -> Application:
    """Bind the deployments. Settings are resolved here, on the cluster."""
    settings = load_settings(args.config, args.sets, args.storage)
    encode = Encode.bind(settings)  # type: ignore[attr-defined]
    return Search.bind(settings, encode, args.job_words())  # type: ignore[attr-defined]
