"""Ask a language model about videos: concurrently, within a budget, each once; answers are kept as they come."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rayreel.enrichment.answer import Enrichment, read_answer
from rayreel.enrichment.answers import Answers
from rayreel.enrichment.budget import Budget
from rayreel.enrichment.config import EnrichConfig
from rayreel.enrichment.endpoint import Endpoint, EndpointStopped, NoReply
from rayreel.enrichment.prompt import is_described, key_of, most_tokens, request_of
from rayreel.enrichment.subjects import Pair, Subject
from rayreel.media.pictures import Pictures
from rayreel.storage import Storage

Job = tuple[str, Sequence[Subject]]
"""The key of an answer, and the videos that it is about: copies of one."""
# An endpoint that fails so often in a row is broken, or answers in another form.
MOST_FAILURES_IN_A_ROW = 10


@dataclass(slots=True)
class EnrichReport:
    """The outcome of every video: videos == known + enriched + failed + left + nothing_known.

    `known` have an answer of an earlier run, `left` are not asked yet, and of those with `nothing_known` there is no
    text. `failed`: why, by id. `stopped`: why the run ended early, besides the budget.
    """

    videos: int = 0
    known: int = 0
    enriched: int = 0
    left: int = 0
    nothing_known: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    received: int = 0
    cost: float = 0.0
    budget_used_up: bool = False
    stopped: EndpointStopped | None = None


@dataclass(frozen=True, slots=True)
class EnrichmentPlan:
    """`found` answers with their keys by (video_id, version), and the videos `todo` by key: copies share an answer."""

    subjects: Sequence[Subject]
    found: Mapping[Pair, tuple[str, Enrichment]]
    todo: Mapping[str, Sequence[Subject]]

    @staticmethod
    def of(subjects: Sequence[Subject], config: EnrichConfig, answers: Answers) -> "EnrichmentPlan":
        """Find what has been answered."""
        by_key: dict[str, list[Subject]] = {}
        for subject in subjects:
            if is_described(subject, config):
                by_key.setdefault(key_of(subject, config), []).append(subject)
        known = {key: answer for key in by_key if (answer := answers.read(key)) is not None}
        found = {subject.pair: (key, known[key]) for key in known for subject in by_key[key]}
        return EnrichmentPlan(subjects, found, {key: some for key, some in by_key.items() if key not in known})

    @property
    def nothing_known(self) -> int:
        """Number of videos that there is nothing to say about."""
        return len(self.subjects) - len(self.found) - sum(map(len, self.todo.values()))

    def estimate(self, config: EnrichConfig, pictures: Pictures, limit: int | None = None) -> tuple[int, int]:
        """Return the most tokens that asking sends and receives."""
        asked = list(self.todo.values())[:limit]
        sent = sum(most_tokens(request_of(some[0], config, pictures)) for some in asked)
        return sent, config.answer_tokens * len(asked)


def enrich(
    plan: EnrichmentPlan,
    config: EnrichConfig,
    storage: Storage,
    *,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, todo: None,
) -> EnrichReport:
    """Ask about the videos to do, at most `limit` of them, and keep valid answers; an invalid one is a failure.

    Ends early without an error if the budget is used up, or if the endpoint stops; see the report. Raises
    EnrichmentUnavailable and StorageFull.
    """
    return asyncio.run(_EnrichRun(plan, config, storage, limit, progress).finish())


class _EnrichRun:
    def __init__(
        self,
        plan: EnrichmentPlan,
        config: EnrichConfig,
        storage: Storage,
        limit: int | None,
        progress: Callable[[int, int], None],
    ) -> None:
        self.config, self.answers, self.pictures = config, Answers(storage), Pictures(storage)
        self.jobs = list(plan.todo.items())[:limit]
        self.waiting: Iterator[Job] = iter(self.jobs)
        self.budget, self.progress, self.in_a_row, self.done = Budget(config), progress, 0, 0
        known, unknown = len(plan.found), plan.nothing_known
        self.report = EnrichReport(videos=len(plan.subjects), known=known, nothing_known=unknown)

    async def finish(self) -> EnrichReport:
        report, endpoint = self.report, Endpoint(self.config) if self.jobs else None
        if endpoint is not None:
            try:
                await asyncio.gather(*(self._work(endpoint) for _ in range(self.config.concurrency)))
            finally:
                await endpoint.close()
        report.sent, report.received, report.cost = self.budget.sent, self.budget.received, self.budget.cost
        report.left = report.videos - report.known - report.enriched - len(report.failed) - report.nothing_known
        return report

    async def _work(self, endpoint: Endpoint) -> None:
        for job in self.waiting:
            if self.report.stopped is not None or self.report.budget_used_up:
                return
            body = request_of(job[1][0], self.config, self.pictures)
            most = most_tokens(body), self.config.answer_tokens
            if not await self.budget.reserve(most):
                self.report.budget_used_up = True
                return
            await self._ask(endpoint, job, body, most)
            self.done += 1
            self.progress(self.done, len(self.jobs))

    async def _ask(self, endpoint: Endpoint, job: Job, body: Mapping[str, Any], most: tuple[int, int]) -> None:
        used: tuple[int, int] | None = (0, 0)
        try:
            reply = await endpoint.ask(body)
            used = reply.used
            self._keep(*job, reply.why if isinstance(reply, NoReply) else _answer(reply.text))
        except EndpointStopped as error:
            self.report.stopped = self.report.stopped or error
        finally:
            await self.budget.settle(most, most if used is None else used)

    def _keep(self, key: str, subjects: Sequence[Subject], found: Enrichment | str) -> None:
        if isinstance(found, Enrichment):
            self.answers.write(key, found)
            self.report.enriched += len(subjects)
            self.in_a_row = 0
            return
        self.report.failed |= {subject.video_id: found for subject in subjects}
        self.in_a_row += 1
        if self.in_a_row == MOST_FAILURES_IN_A_ROW:
            self.report.stopped = EndpointStopped(
                f"{self.config.url} ({self.config.model}): {self.in_a_row} failures in a row, the last: {found}. "
                "Check the server's log, enrich.model and enrich.structured, and run the same command again."
            )


def _answer(text: str) -> Enrichment | str:
    """Return a valid answer, or what is wrong with it without repeating it."""
    try:
        return read_answer(text)
    except ValueError as error:
        found = getattr(error, "errors", None)
        problems = [f"{'.'.join(map(str, one['loc']))} {one['msg']}".strip() for one in found()] if found else [error]
        return f"not a valid answer: {'; '.join(map(str, problems[:3]))}"[:300]
