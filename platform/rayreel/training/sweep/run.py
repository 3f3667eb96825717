"""Run the trials of a sweep, a few at a time."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayTaskError

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
    """Train all trials on the running Ray cluster, at most `parallel` at a time; outcomes in the trials' order.

    `parent` is the MLflow run, at `uri`, that gets a run below it for each. `on_outcome` hears of each outcome when it is
    known. A trial that fails is an outcome with its trouble. Below the storage root, `sweeps/name` keeps Tune's state.
    """
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # MLflow has it all
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one speaks even when told not to
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # of a failed trial, error.txt has the traceback
    storage = Storage(trials[0].job.storage)
    most = max_concurrent([trial.job.train for trial in trials], parallel, ray.cluster_resources())
    trainable = tune.with_parameters(_trainable, trials=list(trials), parent=parent, uri=uri)
    tuner = tune.Tuner(
        # No CPU for a trial itself: it waits for its workers, and a CPU that it held could be the one they wait for.
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


def max_concurrent(configs: Sequence[TrainConfig], parallel: int, there: Mapping[str, float]) -> int:
    """How many trials can have all their workers at the same time, `parallel` at most and at least one.

    `there` are a cluster's resources by Ray's names.
    """
    cpus = max(config.most_workers * config.cpus_per_worker for config in configs)
    most = int(there.get("CPU", 1) // cpus)
    if (gpus := there.get("GPU", 0)) and any(config.use_gpu is not False for config in configs):
        most = min(most, int(gpus // max(config.most_workers for config in configs)))
    return max(1, min(parallel, most))


def _trainable(config: dict[str, Any], trials: list[SweepTrial], parent: str, uri: str) -> None:
    tune.report(train_trial(trials[config[_NUMBER]], parent, uri))


class _OutcomeCallback(tune.Callback):  # type: ignore[misc]
    """Passes on each outcome."""

    def __init__(self, trials: Sequence[SweepTrial], on_outcome: Callable[[TrialOutcome], None]) -> None:
        self._trials, self._on_outcome = trials, on_outcome

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """Called by Tune, in the driver."""
        self._on_outcome(_outcome(self._trials, trial.config, trial.last_result, None))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """Called by Tune when a trial raises; what it raised is not yet where Tune looks for it."""
        self._on_outcome(TrialOutcome(self._trials[trial.config[_NUMBER]], trouble="ended with an error"))


def _last_line(error: Exception) -> str:
    """A RayTaskError's text is a traceback, whose last line names the error of the task."""
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
