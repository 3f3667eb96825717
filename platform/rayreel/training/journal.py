"""The journal: a run's metrics on disk, from which each epoch is sent to MLflow once, as soon as it is available."""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from ray.train import Checkpoint, UserCallback

from rayreel.storage import Storage
from rayreel.training.tracking import bound_retries, metric_name

log = logging.getLogger(__name__)

_EPOCH = "epoch"
# A hanging server blocks a request for tens of seconds, and with it all workers that wait to report.
_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """The metrics of an epoch, and when they were reported."""

    epoch: int
    time_ms: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Journal:
    """metrics.jsonl in the run's folder: one line per epoch; the first result of a repeated epoch is kept."""

    root: str
    name: str

    def add(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add an epoch, unless it is already there."""
        entries = self.read()
        if epoch in {entry.epoch for entry in entries}:
            return
        entries.append(Entry(epoch, time.time_ns() // 10**6, dict(metrics)))
        lines = (json.dumps({"epoch": e.epoch, "time_ms": e.time_ms, "metrics": e.metrics}) for e in entries)
        storage, path = self._file()
        storage.write(path, "".join(f"{line}\n" for line in lines).encode())

    def read(self) -> list[Entry]:
        """Return all epochs so far."""
        storage, path = self._file()
        return [Entry(**json.loads(line)) for line in (storage.read(path) or b"").splitlines()]

    def history(self) -> dict[str, list[tuple[int, float]]]:
        """Return (epoch, value) of every metric."""
        found: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for entry in self.read():
            for name, value in entry.metrics.items():
                found[name].append((entry.epoch, value))
        return dict(found)

    def deliver(self, uri: str, run_id: str) -> None:
        """Send the epochs that the MLflow run does not have. Raises MlflowException if MLflow is unavailable.

        Reads from MLflow which epochs it has: a request may have arrived although its response was lost.
        """
        client = MlflowClient(uri)
        delivered = {point.step for point in client.get_metric_history(run_id, _EPOCH)}
        for entry in self.read():
            if entry.epoch not in delivered:
                metrics = {**entry.metrics, _EPOCH: entry.epoch}
                points = [Metric(metric_name(k), float(v), entry.time_ms, entry.epoch) for k, v in metrics.items()]
                client.log_batch(run_id, metrics=points)

    def _file(self) -> tuple[Storage, str]:
        storage = Storage(self.root)
        return storage, storage.path("checkpoints", self.name, "metrics.jsonl")


class EpochMetrics(UserCallback):  # type: ignore[misc]
    """Adds each epoch to the journal and sends it to MLflow, from Ray Train's controller.

    Training continues if MLflow is unavailable; the next attempt is made after `pause_s`.
    """

    def __init__(self, journal: Journal, uri: str, run_id: str, pause_s: float = _PAUSE_S) -> None:
        self.journal, self.uri, self.run_id, self.pause_s = journal, uri, run_id, pause_s
        self._retry_at = float("-inf")

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:  # noqa: ANN401
        """Handle a report of Ray Train; reports within an epoch contain a checkpoint only."""
        first = dict(metrics[0])
        if _EPOCH not in first:
            return
        epoch = int(first.pop(_EPOCH))
        self.journal.add(epoch, first)
        if time.monotonic() < self._retry_at:
            return
        bound_retries()
        try:
            self.journal.deliver(self.uri, self.run_id)
        except MlflowException as error:
            self._retry_at = time.monotonic() + self.pause_s
            log.warning("could not send the metrics of epoch %d to MLflow; kept in the journal: %s", epoch, error)
