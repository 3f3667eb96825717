"""Run the trials of a sweep with Ray Tune."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayTaskError

from rayreel.placement import free_gpus
from rayreel.storage import Storage
from rayreel.training.config import TrainConfig
from rayreel.training.sweep.trial import SweepTrial, TrialOutcome, train_trial

_NUMBER = "number"


def run_trials(
    trials: Sequence[SweepTrial],
    name: str,
    parent: str,
    uri: str,
    *,
    parallel: int = 2,
    on_outcome: Callable[[TrialOutcome], None] = lambda _: None,
) -> list[TrialOutcome]:
    """Train all trials on the running Ray cluster, at most `parallel` at a time; return outcomes in the trials' order.

    Each trial is a child run of the MLflow run `parent` at `uri`. `on_outcome` is called as soon as a trial ends. A
    failed trial is an outcome with `trouble`. Tune's state is in `sweeps/name` below the storage root.
    """
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # metrics are in MLflow
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output ignores verbose=0
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # tracebacks of failed trials are in error.txt
    storage = Storage(trials[0].job.storage)
    resources = ray.cluster_resources() | {"GPU": free_gpus()}
    most = max_concurrent([trial.job.train for trial in trials], parallel, resources)
    trainable = tune.with_parameters(_trainable, trials=list(trials), parent=parent, uri=uri)
    tuner = tune.Tuner(
        # No CPU for the trial itself: it only waits for its workers, and a reserved CPU could be the one they need.
        tune.with_resources(trainable, {"memory": 1 << 20}),
        param_space={_NUMBER: tune.grid_search(list(range(len(trials))))},
        tune_config=tune.TuneConfig(max_concurrent_trials=most),
        run_config=tune.RunConfig(
            name=name, storage_path=storage.uri("sweeps"), verbose=0, callbacks=[_OutcomeCallback(trials, on_outcome)]
        ),
    )
    found = {
        result.config[_NUMBER]: _outcome(trials, result.config, result.metrics, result.error) for result in tuner.fit()
    }
    return [found[number] for number in range(len(trials))]


def max_concurrent(configs: Sequence[TrainConfig], parallel: int, resources: Mapping[str, float]) -> int:
    """Return how many trials can run at the same time with all their workers: at least one, at most `parallel`.

    `resources` are those of the cluster and its free GPUs, by Ray's names.
    """
    cpus = max(config.most_workers * config.cpus_per_worker for config in configs)
    most = int(resources.get("CPU", 1) // cpus)
    if (gpus := resources.get("GPU", 0)) and any(config.use_gpu is not False for config in configs):
        most = min(most, int(gpus // max(config.most_workers for config in configs)))
    return max(1, min(parallel, most))


def _trainable(config: dict[str, Any], trials: list[SweepTrial], parent: str, uri: str) -> None:
    tune.report(train_trial(trials[config[_NUMBER]], parent, uri))


class _OutcomeCallback(tune.Callback):  # type: ignore[misc]
    """Calls `on_outcome` for each trial that ends."""

    def __init__(self, trials: Sequence[SweepTrial], on_outcome: Callable[[TrialOutcome], None]) -> None:
        self._trials, self._on_outcome = trials, on_outcome

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """Handle a completed trial, in the driver."""
        self._on_outcome(_outcome(self._trials, trial.config, trial.last_result, None))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """Handle a trial that raised; its error is not available from Tune yet."""
        self._on_outcome(TrialOutcome(self._trials[trial.config[_NUMBER]], trouble="ended with an error"))


def _last_line(error: Exception) -> str:
    """The last line of an error; a RayTaskError's text is a traceback that ends with the task's error."""
    last = str(error).strip().rpartition("\n")[2]
    return last if isinstance(error, RayTaskError) else f"{type(error).__name__}: {last}"


def _outcome(
    trials: Sequence[SweepTrial], config: dict[str, Any], metrics: dict[str, Any] | None, error: Exception | None
) -> TrialOutcome:
    trial = trials[config[_NUMBER]]
    if error is not None:
        return TrialOutcome(trial, trouble=_last_line(error))
    fields = set(TrialOutcome.__dataclass_fields__) - {"trial"}
    return TrialOutcome(trial, **{key: value for key, value in (metrics or {}).items() if key in fields})
