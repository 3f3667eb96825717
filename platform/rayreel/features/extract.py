"""Extract the features of a catalog: new videos are decoded and encoded, failed ones quarantined, others kept."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from rayreel.catalog.columns import CATALOG, to_table, to_videos
from rayreel.catalog.problem import RowProblem
from rayreel.catalog.read import Catalog
from rayreel.catalog.video import CatalogVideo
from rayreel.durable import StorageFull
from rayreel.errors import RayreelError
from rayreel.features.captioned import captioned_rows, captions_beside, captions_key
from rayreel.features.pipeline import Pipeline
from rayreel.features.report import EXTRACTED, Throughput
from rayreel.features.retelling import former_rows, located_rows
from rayreel.features.rows import quarantine_row
from rayreel.features.schema import ENRICHED, QUARANTINE, SPOKEN
from rayreel.features.store import FeatureStore
from rayreel.features.version import base_of, plain_of, spoken_version, version_of
from rayreel.speech.find import Speech


class TooManyFailures(RayreelError):
    """More videos failed than --max-failures allows. The cause is probably not the videos."""


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """The outcome of every catalog row: rows == extracted + quarantined + unchanged + deleted + replaced.

    `deleted` and `replaced` are rows of videos that were deleted or replaced over the API: an amendment overrides the
    catalog. `without_video` of the extracted rows have no address of a video. `text_fallback` of the quarantined and
    unchanged rows were indexed by their text in this run. `retold` of the extracted rows kept their other features.
    """

    rows: int
    extracted: int
    unchanged: int
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    throughput: Throughput = field(default_factory=Throughput, repr=False)
    deleted: int = 0
    replaced: int = 0
    without_video: int = 0
    text_fallback: int = 0
    retold: int = 0

    @property
    def nothing_usable(self) -> bool:
        """Whether every row went to quarantine and none was indexed by its text."""
        return self.rows == self.quarantined and not self.text_fallback

    @property
    def quarantined(self) -> int:
        """Number of rows quarantined in this run."""
        return self.reasons.total()


@dataclass(frozen=True, slots=True)
class ExtractionPlan:
    """The work of a run: the catalog's rows compared with the content of the store.

    `rows` has the usable rows by (video_id, version), including those whose video is missing. `retold` has the new
    version of rows that exist but whose speech is to be recognised, by id and former version. `captions` are those
    beside videos, by id.
    """

    versions: dict[str, str]
    todo: list[CatalogVideo]
    problems: dict[str, RowProblem]
    new_problems: dict[str, RowProblem]
    amended: Counter[str] = field(default_factory=Counter)
    rows: dict[tuple[str, str], CatalogVideo] = field(default_factory=dict)
    retold: dict[tuple[str, str], str] = field(default_factory=dict)
    captions: dict[str, Path] = field(default_factory=dict)

    @staticmethod
    def of(
        catalog: Catalog,
        store: FeatureStore,
        *,
        retry_quarantined: bool,
        adding: bool = False,
        speech: Speech | None = None,
    ) -> "ExtractionPlan":
        """Determine what is new or changed. Videos that were deleted or replaced over the API are skipped.

        `adding` overrides amendments: adding a catalog is an explicit request. With `speech`, rows that were not
        transcribed so are new; without it, rows are kept with or without a transcript.
        """
        problems = {_problem_version(problem): problem for problem in catalog.problems}
        seen = store.done()
        captions = captions_beside(catalog.videos)
        plain = {(video_id, plain_of(version)) for video_id, version in seen}
        versions = wanted_versions(catalog.videos, speech, plain, captions)
        versions |= _enriched(store, versions, seen)
        done = store.done(quarantined=False) if retry_quarantined else seen
        amendments = {} if adding else store.amendments.read()
        overridden = {
            i: amendments[i] for i, version in versions.items() if not _same(amendments.get(i, version), version)
        }
        amended = Counter("deleted" if version is None else "replaced" for version in overridden.values())
        rest = [video for video in catalog.videos if video.video_id not in overridden]
        todo = [video for video in rest if (video.video_id, versions[video.video_id]) not in done]
        new_problems = {v: p for v, p in problems.items() if (p.video_id, v) not in seen}
        rows = {(video.video_id, versions[video.video_id]): video for video in rest}
        rows |= {(p.video_id, v): p.video for v, p in problems.items() if p.video and p.video_id not in amendments}
        spoken = {video.video_id: versions[video.video_id] for video in todo if video.video_id not in captions}
        retold = former_rows(store, spoken) if speech else {}
        kept = {video_id for video_id, _ in retold}
        todo = [video for video in todo if video.video_id not in kept]
        return ExtractionPlan(versions, todo, problems, new_problems, amended, rows, retold, captions)

    @property
    def catalog_rows(self) -> list[tuple[str, str]]:
        """(video_id, version) of every row, valid or not."""
        return [*self.versions.items(), *((problem.video_id, version) for version, problem in self.problems.items())]

    def texts(self) -> dict[tuple[str, str], CatalogVideo]:
        """Return what may be indexed if the video cannot be used: every row with a text and a video, without it."""
        return {pair: row.without_video() for pair, row in self.rows.items() if row.uri and row.text()}

    def unusable(self, store: FeatureStore) -> list[CatalogVideo]:
        """Return the texts of the videos of which the store has no row, neither of the video nor of the text."""
        done = store.done(quarantined=False)
        return [text for pair, text in self.texts().items() if not {pair, _pair(text)} & done]


def extract(
    catalog: Catalog,
    store: FeatureStore,
    pipeline: Pipeline,
    *,
    retry_quarantined: bool = False,
    max_failures: int | None = None,
    adding: bool = False,
    progress: Callable[[Throughput, int], None] = lambda throughput, todo: None,
) -> ExtractReport:
    """Bring the store up to date with the catalog. Needs a running Ray.

    With `adding` the catalog is added to the current one instead of replacing it, and restores deleted videos.
    `progress` receives the throughput so far and the number of videos to extract. Partial files of killed runs are
    deleted at the start. Finished rows are kept if the run stops with an error.

    Raises:
        TooManyFailures: more than `max_failures` rows of this run went to quarantine.
        StorageFull: rows could not be written.
    """
    started = time.monotonic()
    store.storage.sweep()
    store.create()
    speech = pipeline.speech
    plan = ExtractionPlan.of(catalog, store, retry_quarantined=retry_quarantined, adding=adding, speech=speech)
    with_texts = pipeline.config.text_fallback
    set_planned_catalog(store, plan, adding=adding, with_texts=with_texts)
    reasons = _quarantine_problems(store, plan.new_problems)
    _stop_if_too_many(reasons, max_failures)
    count = len(plan.todo) + len(plan.retold)
    throughput = pipeline.throughput() if count else Throughput()
    captioned = [video for video in plan.todo if video.video_id in plan.captions]
    blocks = chain(
        pipeline.run([video for video in plan.todo if video.video_id not in plan.captions], plan.versions, store),
        pipeline.run(captioned, plan.versions, store, spoken=captioned_rows(captioned, plan.captions)),
        pipeline.retell(located_rows(store, plan.retold), store),
    )
    for block in blocks:
        if block.storage_full:
            raise StorageFull(block.storage_full)
        throughput.add(block)
        progress(throughput, count)
        _stop_if_too_many(reasons + throughput.outcomes, max_failures)
    unchanged = len(catalog) - count - len(plan.new_problems) - plan.amended.total()
    reasons.update(throughput.outcomes)
    extracted = reasons.pop(EXTRACTED, 0)
    return ExtractReport(
        len(catalog),
        extracted,
        unchanged,
        reasons,
        throughput=throughput,
        without_video=sum(not video.uri for video in plan.todo),
        text_fallback=_extract_texts(plan.unusable(store), store, pipeline) if with_texts else 0,
        seconds=time.monotonic() - started,
        retold=len(plan.retold),
        **plan.amended,
    )


def _extract_texts(texts: list[CatalogVideo], store: FeatureStore, pipeline: Pipeline) -> int:
    """Add rows of text alone and return how many there are. Raises StorageFull."""
    for block in pipeline.run(texts, {video.video_id: version_of(video) for video in texts}, store):
        if block.storage_full:
            raise StorageFull(block.storage_full)
    return len(texts)


def extract_like(
    source: FeatureStore,
    store: FeatureStore,
    pipeline: Pipeline,
    progress: Callable[[Throughput, int], None] = lambda throughput, todo: None,
) -> list[str]:
    """Extract the current videos of one store into that of other encoders. The catalog and its amendments stay.

    Transcripts and what a language model wrote are copied. Returns the ids of the videos that failed: see the
    quarantine of `store`. A killed run continues; videos that failed before are tried again. Needs a running Ray.
    Raises StorageFull.
    """
    store.storage.sweep()
    store.create()
    kept = [*SPOKEN.names, *ENRICHED.names]
    table, done = source.read([*CATALOG.names, *kept, "version"]), store.done(quarantined=False)
    versions = dict(zip(table["video_id"].to_pylist(), table["version"].to_pylist(), strict=True))
    missing = [(video.video_id, versions[video.video_id]) not in done for video in to_videos(table)]
    table = table.filter(pa.array(missing, pa.bool_()))
    todo = to_videos(table)
    throughput = pipeline.throughput() if todo else Throughput()
    for block in pipeline.run(todo, versions, store, spoken=table.select(kept)):
        if block.storage_full:
            raise StorageFull(block.storage_full)
        throughput.add(block)
        progress(throughput, len(todo))
    done = store.done(quarantined=False)
    return [video.video_id for video in todo if (video.video_id, versions[video.video_id]) not in done]


def set_planned_catalog(store: FeatureStore, plan: ExtractionPlan, *, adding: bool, with_texts: bool = False) -> None:
    """Make the planned catalog the current one or, with `adding`, add it to the current one.

    `with_texts` makes rows of text alone current too; the store reads those of videos that it has no other row of.
    """
    rows = plan.catalog_rows + (list(map(_pair, plan.texts().values())) if with_texts else [])
    if adding:
        new = {video_id for video_id, _ in rows}
        kept = [(row["video_id"], row["version"]) for row in store.catalog().to_pylist()]
        rows = [pair for pair in kept if pair[0] not in new] + rows
    # An amendment overrides the catalog, so it must have the same version.
    amendments = store.amendments.read()
    amended = [pair for pair in plan.versions.items() if amendments.get(pair[0], pair[1]) != pair[1]]
    store.amend(added=amended if adding else [pair for pair in amended if _same(amendments[pair[0]], pair[1])])
    store.set_catalog(rows)


def wanted_versions(
    videos: Sequence[CatalogVideo],
    speech: Speech | None,
    seen: set[tuple[str, str]],
    captions: Mapping[str, Path] = MappingProxyType({}),
) -> dict[str, str]:
    """Return the version that each video's row should have. Without `speech`, a transcript that exists is kept.

    `captions` by id replace speech recognition.
    """
    wanted = {video.video_id: version_of(video) for video in videos}
    written = {i: spoken_version(wanted[i], captions_key(path)) for i, path in captions.items()}
    if speech is not None:
        with_video = {video.video_id for video in videos if video.uri}
        return {i: spoken_version(v, speech.key) if i in with_video else v for i, v in wanted.items()} | written
    for video_id, version in sorted(seen):
        if video_id in wanted and base_of(version) == base_of(wanted[video_id]):
            wanted[video_id] = version
    return wanted | written


def _enriched(store: FeatureStore, versions: Mapping[str, str], seen: set[tuple[str, str]]) -> dict[str, str]:
    """Return the current versions with a language model's answer of videos that are otherwise as they were."""
    current = store.amendments.applied(store.catalog())
    pairs = seen.intersection(zip(current["video_id"].to_pylist(), current["version"].to_pylist(), strict=True))
    return {i: version for i, version in pairs if versions.get(i) == plain_of(version) != version}


def _same(version: str | None, other: str) -> bool:
    """Whether two versions differ at most in how speech is recognised; None is that of a deleted video."""
    return version is not None and base_of(version) == base_of(other)


def _stop_if_too_many(outcomes: Counter[str], max_failures: int | None) -> None:
    failed = {reason: count for reason, count in outcomes.items() if reason != EXTRACTED}
    if max_failures is not None and sum(failed.values()) > max_failures:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(failed.items()))
        raise TooManyFailures(
            f"{sum(failed.values())} rows failed ({reasons}), --max-failures allows {max_failures}. Finished rows are "
            "kept. Check the reasons in quarantine, fix the cause and run again with --retry-quarantined."
        )


def _pair(video: CatalogVideo) -> tuple[str, str]:
    return video.video_id, version_of(video)


def _problem_version(problem: RowProblem) -> str:
    digest = hashlib.blake2b(f"{problem.row} {problem.uri} {problem.detail}".encode(), digest_size=8)
    return digest.hexdigest()


def _row_of(problem: RowProblem) -> dict[str, Any]:
    """Return the columns of a catalog row of which only the video cannot be used."""
    rows: list[dict[str, Any]] = to_table([problem.video]).to_pylist() if problem.video else [{}]
    return rows[0]


def _quarantine_problems(store: FeatureStore, problems: dict[str, RowProblem]) -> Counter[str]:
    rows = [
        _row_of(problem)
        | quarantine_row(problem.video_id, problem.uri, version, "catalog", problem.reason, problem.detail)
        for version, problem in problems.items()
    ]
    store.add(store.schema.empty_table(), pa.Table.from_pylist(rows, schema=QUARANTINE))
    return Counter(problem.reason.value for problem in problems.values())
