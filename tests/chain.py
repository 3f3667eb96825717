"""A finished quickstart, for tests to query."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.plan import plan_sample

ROOT = Path(__file__).parents[1]
CLIPS = plan_sample(SampleConfig(clips=32, categories=4, seed=3, easy=True))


@dataclass(frozen=True)
class Chain:
    """A finished quickstart: its standard output, standard error and the address of its service."""

    output: str
    errors: str
    url: str
    dashboard: str
    catalog: Path
    storage: Path
    environment: dict[str, str]

    def job(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a job against the same storage and cluster."""
        command = [sys.executable, *words]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)

    def recommend(self, **query: object) -> list[dict[str, Any]]:
        """Return the results of one query, which must succeed."""
        answer = httpx.post(f"{self.url}/v1/recommend", json=query, timeout=60)
        assert answer.status_code == httpx.codes.OK, answer.text
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def ready(self) -> dict[str, Any]:
        """Return the response of /readyz; the service must be ready."""
        state: dict[str, Any] = httpx.get(f"{self.url}/readyz", timeout=60).raise_for_status().json()
        return state
