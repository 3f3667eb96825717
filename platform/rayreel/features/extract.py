"""A catalog becomes features: what is new is decoded and encoded, what failed is quarantined, the rest stays."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

from rayreel.catalog.problem import Problem
from rayreel.catalog.read import Catalog
from rayreel.features.pipeline import Pipeline
from rayreel.features.rows import quarantine_row
from rayreel.features.schema import QUARANTINE
from rayreel.features.stages import EXTRACTED
from rayreel.features.store import FeatureStore
from rayreel.features.version import version_of


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """What became of every catalog row: rows == extracted + quarantined + unchanged."""

    rows: int
    extracted: int
    unchanged: int
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def quarantined(self) -> int:
        """Rows that went to quarantine in this run."""
        return self.reasons.total()

    @property
    def videos_per_s(self) -> float:
        """Videos that went through decode and encode in this run, per second."""
        return (self.extracted + self.quarantined) / self.seconds if self.seconds else 0.0


def extract(
    catalog: Catalog,
    store: FeatureStore,
    pipeline: Pipeline,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ExtractReport:
    """Bring the store up to date with the catalog.

    Needs a running Ray; `progress` hears (videos done, videos to do).
    """
    started = time.monotonic()
    versions = {video.video_id: version_of(video) for video in catalog.videos}
    problems = {_problem_version(problem): problem for problem in catalog.problems}
    store.create()
    done = store.done()
    store.set_catalog([*versions.items(), *((problem.video_id, version) for version, problem in problems.items())])
    reasons = _quarantine_problems(store, {v: p for v, p in problems.items() if (p.video_id, v) not in done})
    todo = [video for video in catalog.videos if (video.video_id, versions[video.video_id]) not in done]
    unchanged = len(catalog) - len(todo) - reasons.total()
    done_now = 0
    for outcomes in pipeline.run(todo, versions, store):
        reasons.update(outcomes)
        done_now += outcomes.total()
        progress(done_now, len(todo))
    extracted = reasons.pop(EXTRACTED, 0)
    return ExtractReport(len(catalog), extracted, unchanged, reasons, time.monotonic() - started)


def _problem_version(problem: Problem) -> str:
    digest = hashlib.blake2b(f"{problem.row} {problem.uri} {problem.detail}".encode(), digest_size=8)
    return digest.hexdigest()


def _quarantine_problems(store: FeatureStore, problems: dict[str, Problem]) -> Counter[str]:
    rows = [
        quarantine_row(problem.video_id, problem.uri, version, "catalog", problem.reason, problem.detail)
        for version, problem in problems.items()
    ]
    store.add(store.schema.empty_table(), pa.Table.from_pylist(rows, schema=QUARANTINE))
    return Counter(problem.reason.value for problem in problems.values())
