"""Quality gates: compare a tower with the champion and with baselines that need no tower."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.catalog.interactions import read_interactions
from rayreel.errors import RayreelError
from rayreel.evaluation.comparison import Section, Versus
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.evaluate import Evaluation, evaluate
from rayreel.evaluation.frozen import FROM_LABELS
from rayreel.evaluation.methods import TOWER
from rayreel.evaluation.view_retrieval import VIEWS
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import FeatureStore, NoFeatures, open_store
from rayreel.release import registry
from rayreel.release.config import GatesConfig, SmoothingMode
from rayreel.release.gates import ReleaseGate
from rayreel.release.registry import Version
from rayreel.storage import Storage
from rayreel.tower.embed import embed
from rayreel.tower.embedder import Embedder
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.smoothing import smoothed
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.tracking import TrackingUnavailable, run_config

CHAMPION = "champion"
# Without release.gates.metrics, the first of these sections decides: what users watch before what metadata says.
_FIRST = ("users", "co_watch", "category", "tags")
# These use only views and know nothing of new videos, so a content tower need not beat them.
_OF_USERS = {"popularity", "item-kNN", "matrix factorisation", "EASE", "SASRec"}
_PERFECT = 1 - 1e-9


class UnknownMetric(RayreelError):
    """release.gates.metrics names a metric that the evaluation does not have."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gates on quality, and the tower's own metrics such as {"category/ndcg@10": 0.9}."""

    gates: list[ReleaseGate]
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Jury:
    """What towers are judged with. `interactions` is a file of views; None: the one the version was trained with."""

    storage: Storage
    evaluation: EvaluationConfig
    gates: GatesConfig
    interactions: str | None = None
    smoothing: SmoothingMode = "auto"


def judge(version: Version, champion: Version | None, jury: Jury, store: FeatureStore) -> Judgement:
    """Evaluate the version on its held-out videos of the store, and the champion on the same videos.

    A champion with other encoders is evaluated on its own features of these videos; its gate fails if there are none.
    If it was trained with another split, it may have seen these videos, which can only help it. Without labels and
    interactions, towers are judged by view retrieval.
    """
    table = store.read()
    rivals: dict[str, Embedder | NDArray[np.float32]] = {}
    missing: list[ReleaseGate] = []
    if champion is not None and jury.gates.champion != "off":
        try:
            table, theirs = _shared(champion, table, store)
            former = registry.load(champion, jury.smoothing)
            rivals[CHAMPION] = former if theirs is table else _vectors(former, theirs)
        except NoFeatures as error:
            missing = [
                ReleaseGate(CHAMPION, False, f"cannot be compared with version {champion.number}: {error}", True)
            ]
    try:
        trained, own = run_config(version.run_id), registry.load(version, jury.smoothing)
        evaluation = _evaluate(own, trained, table, rivals, jury)
    except TrackingUnavailable:
        raise
    except RayreelError as error:  # no protocol has a query
        return Judgement([*missing, ReleaseGate("evaluation", False, str(error), quality=True)], {})
    if champion is not None and VIEWS in evaluation.sections:
        missing += _uncompared(evaluation, rivals, champion)
    learned, metrics = _learned(own, trained), _metrics(evaluation, jury.gates)
    gates = [gate for name in metrics for gate in _gates(evaluation, name, jury.gates, learned)]
    return Judgement(missing + gates, _own(evaluation))


def _vectors(tower: Embedder, table: pa.Table) -> NDArray[np.float32]:
    return smoothed(embed(tower, FeatureMatrix.from_table(table)), tower.smoothing)


def _uncompared(evaluation: Evaluation, rivals: Collection[str], champion: Version) -> list[ReleaseGate]:
    """Return a failed gate if view retrieval has left out a champion whose features are others."""
    if CHAMPION not in rivals or CHAMPION in evaluation.sections[VIEWS].scores:
        return []
    finding = f"version {champion.number} reads other features, and view retrieval compares only towers of the same"
    return [ReleaseGate(CHAMPION, False, finding, quality=True)]


@dataclass(frozen=True, slots=True)
class Learned:
    """Whether a version has learned anything, and whether from categories."""

    anything: bool
    categories: bool


def _learned(tower: Embedder, trained: Mapping[str, Any]) -> Learned:
    anything, pairs = not isinstance(tower, FrozenFeatures), PairsConfig.model_validate(trained.get("pairs", {}))
    # Every recipe that is chosen from the data takes categories if there are some, and a probe is made of them.
    chosen = pairs == PairsConfig() and trained.get("train", {}).get("recipe", "auto") != "tower"
    return Learned(anything, anything and (pairs.label > 0 or chosen))


def _shared(champion: Version, table: pa.Table, store: FeatureStore) -> tuple[pa.Table, pa.Table]:
    """Return the feature rows of the videos that both have, and the champion's own, in the same order."""
    if champion.encoder_key == str(store.key):
        return table, table
    store = open_store(store.storage, champion.encoder_key)
    theirs = store.read()
    theirs = theirs.filter(pc.is_in(theirs["video_id"], value_set=table["video_id"].combine_chunks()))
    if not theirs.num_rows:
        raise NoFeatures(f"{store.features} has none of these videos. Extract them with the champion's encoders, too.")
    table = table.filter(pc.is_in(table["video_id"], value_set=theirs["video_id"].combine_chunks()))
    return table, theirs


def _evaluate(
    tower: Embedder,
    trained: Mapping[str, Any],
    table: pa.Table,
    rivals: Mapping[str, Embedder | NDArray[np.float32]],
    jury: Jury,
) -> Evaluation:
    views = jury.interactions or trained.get("interactions")
    return evaluate(
        tower,
        FeatureMatrix.from_table(table),
        SplitConfig.model_validate(trained["splits"]),
        jury.evaluation,
        None if views is None else read_interactions(str(views)),
        rivals=rivals,
    )


def _metrics(evaluation: Evaluation, gates: GatesConfig) -> list[str]:
    sections = evaluation.sections
    first = next((name for name in _FIRST if name in sections), next(iter(sections)))
    if not gates.metrics:
        return [f"{first}/{sections[first].headline}"]
    named = [name if "/" in name else f"{first}/{name}" for name in gates.metrics]
    known = {f"{name}/{metric}" for name, section in sections.items() for metric in section.scores[TOWER]}
    if unknown := [name for name in named if name not in known]:
        raise UnknownMetric(
            f"release.gates.metrics names {', '.join(unknown)}; this evaluation has {', '.join(sorted(known))}."
        )
    return named


def _gates(evaluation: Evaluation, metric: str, config: GatesConfig, learned: Learned) -> Iterator[ReleaseGate]:
    section, name = _section(evaluation, metric)
    for method, rule in _rules(evaluation, section, config, learned).items():
        versus = section.versus.get(method, {}).get(name)
        if rule != "off" and versus is not None:
            own = section.scores[TOWER][name].mean
            finding = f"{own:.3f}, {method} {section.scores[method][name].mean:.3f}: {_lead(versus)}"
            passed = _passes(rule, versus, own, config.alpha)
            wanted = "" if passed else f"; {_WANTED[rule].format(alpha=config.alpha)}"
            yield ReleaseGate(f"{metric}, {rule.replace('_', ' ')}: {method}", passed, finding + wanted, quality=True)


def _rules(evaluation: Evaluation, section: Section, config: GatesConfig, learned: Learned) -> dict[str, str]:
    """Return the rule for each method that is a gate.

    What has learned replaces what needs no training, so it must show a lead over that; frozen features must not lose.
    Baselines of a few lines cannot serve, so nothing must lose to them that had the same information.
    """
    content = [method for method in evaluation.baselines if method not in _OF_USERS]
    few = [method for method in section.few_lines if learned.categories or method not in FROM_LABELS]
    not_worse = "off" if config.baselines == "off" else "not_worse"
    return {
        CHAMPION: config.champion,
        **dict.fromkeys(content, config.baselines if learned.anything else not_worse),
        **dict.fromkeys(few if learned.anything else (), not_worse),
    }


_WANTED = {
    "better": "requires a lead with p < {alpha:g}",
    "above": "requires a lead",
    "not_worse": "must not lose with p < {alpha:g}",
}


def _passes(rule: str, versus: Versus, own: float, alpha: float) -> bool:
    # p is not corrected for the number of gates: all must pass, so none is a second chance (Berger 1982).
    match rule:
        case "better":
            return versus.difference > 0 and versus.p_alone < alpha
        case "above":
            # If both are perfect, the catalog cannot distinguish them.
            return versus.difference > 0 or (own >= _PERFECT and versus.difference >= 0)
        case _:
            return versus.difference >= 0 or versus.p_alone >= alpha


def _lead(versus: Versus) -> str:
    return f"{versus.difference:+.3f} [{versus.low:+.3f}, {versus.high:+.3f}], p {versus.p_alone:.3f}"


def _section(evaluation: Evaluation, metric: str) -> tuple[Section, str]:
    section, _, name = metric.partition("/")
    return evaluation.sections[section], name


def _own(evaluation: Evaluation) -> dict[str, float]:
    shown = (
        (name, section, metric) for name, section in evaluation.sections.items() for metric in section.table_metrics
    )
    return {f"{name}/{metric}": section.scores[TOWER][metric].mean for name, section, metric in shown}
