"""A finished quickstart, for tests to ask."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Chain:
    """A finished quickstart: what it printed, on standard output and beside it, and where its service answers."""

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
        """The results of one query, which has to succeed."""
        answer = httpx.post(f"{self.url}/v1/recommend", json=query, timeout=60)
        assert answer.status_code == httpx.codes.OK, answer.text
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def ready(self) -> dict[str, Any]:
        """What /readyz says; the service has to be ready."""
        state: dict[str, Any] = httpx.get(f"{self.url}/readyz", timeout=60).raise_for_status().json()
        return state
