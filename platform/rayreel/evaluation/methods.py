"""The methods that a report compares. Each is built on demand, so that memory holds the vectors of one method."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.evaluation.collaborative import MOST_VIDEOS, by_ease, by_factors, by_item_knn
from rayreel.evaluation.config import EvaluationConfig
from rayreel.evaluation.content import ABLATIONS, POOLED_WEIGHTS, embed_modalities, pooled, titles, untrained
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.frozen import FROZEN, of_vectors
from rayreel.evaluation.sasrec import by_sasrec
from rayreel.evaluation.scorers import Scorer, Vectors, by_chance, by_value
from rayreel.evaluation.served import ServedUsers
from rayreel.evaluation.task import Make, Method, Task
from rayreel.evaluation.user_tower import by_user_tower
from rayreel.evaluation.users import UserSplit, UserTask
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.embed import embed
from rayreel.tower.embedder import Embedder
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.smoothing import smoothed
from rayreel.tower.tower import VideoTower
from rayreel.tower.user import UserTower

TOWER = "tower"
TITLES = "TF-IDF titles"
UNTRAINED = "untrained tower"
USER_TOWER = "user tower"


def towers(tower: Embedder, matrix: FeatureMatrix) -> Make:
    """Return the tower with all its modalities, averaged as in a release of it."""
    return _of_vectors(partial(_embedded, tower, matrix))


def baselines(tower: Embedder, exam: Exam, frozen: FrozenFeatures) -> dict[str, Make]:
    """Return the baselines; those that need interactions or a modality only if the data have them.

    `frozen` are frozen features fitted to the training videos; they are no baseline of a release of frozen features.
    """
    present = [modality for modality in Modality if exam.matrix.vectors[modality].counts.any()]
    return {
        "random": lambda: lambda _: by_chance(exam.config.seed),
        **({} if exam.users is None else _of_users(exam.users, exam.config)),
        TITLES: _of_vectors(partial(titles, exam.matrix)),
        **{f"{m.value} alone": _of_vectors(partial(pooled, exam.matrix, {m: 1.0})) for m in present},
        "mean-pooled .7 vis .3 txt": _of_vectors(partial(pooled, exam.matrix, POOLED_WEIGHTS)),
        **({} if isinstance(tower, FrozenFeatures) else {FROZEN: _of_vectors(partial(embed, frozen, exam.matrix))}),
        **_before_training(tower, exam.matrix),
    }


def others(tower: Embedder, rivals: Mapping[str, "Embedder | Vectors"], matrix: FeatureMatrix) -> dict[str, Make]:
    """Return further towers or their embeddings, and ablations of this tower with fewer modalities."""
    ablated = {
        f"{TOWER}, {name} only": partial(embed_modalities, tower, matrix, used) for name, used in ABLATIONS.items()
    }
    if tower.smoothing.neighbours:
        ablated[f"{TOWER}, not averaged"] = partial(embed, tower, matrix)
    rows = {name: _of_vectors(partial(_vectors, rival, matrix)) for name, rival in rivals.items()}
    return {**rows, **{name: _of_vectors(make) for name, make in ablated.items()}, **_answered_users(tower, matrix)}


def _answered_users(tower: Embedder, matrix: FeatureMatrix) -> dict[str, Make]:
    """Return how the service answers users with this version: by interests, and by a user tower if it has one."""

    def interests() -> Method:
        vectors_ND = _embedded(tower, matrix)
        return lambda task: ServedUsers(vectors_ND, task.user_queries).scorer() if isinstance(task, UserTask) else None

    def user_tower(users: UserTower) -> Method:
        vectors_ND, ids = _embedded(tower, matrix), matrix.column("video_id")

        def method(task: Task) -> Scorer | None:
            return by_user_tower(users, vectors_ND, ids, task.user_queries) if isinstance(task, UserTask) else None

        return method

    learnt = {} if tower.users is None else {USER_TOWER: partial(user_tower, tower.users)}
    return {f"{TOWER}, interests": interests, **learnt}


def _before_training(tower: Embedder, matrix: FeatureMatrix) -> dict[str, Make]:
    """Return the tower with its initial weights, if it has trained ones."""
    if not isinstance(tower, VideoTower):
        return {}
    return {UNTRAINED: _of_vectors(lambda: embed(untrained(tower), matrix))}


def _embedded(tower: Embedder, matrix: FeatureMatrix) -> NDArray[np.float32]:
    return smoothed(embed(tower, matrix), tower.smoothing)


def _vectors(rival: "Embedder | Vectors", matrix: FeatureMatrix) -> Vectors:
    return _embedded(rival, matrix) if isinstance(rival, Embedder) else rival


def _of_vectors(make: Callable[[], Vectors]) -> Make:
    return lambda: of_vectors(make())


def _of_users(users: UserSplit, config: EvaluationConfig) -> dict[str, Make]:
    def item_knn(task: Task) -> Scorer | None:
        return by_item_knn(users, task.user_queries, config) if isinstance(task, UserTask) else None

    def factors(task: Task) -> Scorer | None:
        return by_factors(users, task.user_queries, config) if isinstance(task, UserTask) else None

    def ease(task: Task) -> Scorer | None:
        return by_ease(users, task.user_queries, config) if isinstance(task, UserTask) else None

    def sasrec(task: Task) -> Scorer | None:
        return by_sasrec(users, task.user_queries, config) if isinstance(task, UserTask) else None

    return {
        "popularity": lambda: lambda _: by_value(users.views_N.astype(np.float32)),
        "item-kNN": lambda: item_knn,
        "matrix factorisation": lambda: factors,
        **({"EASE": lambda: ease} if users.training_UN.shape[1] <= MOST_VIDEOS else {}),
        **({"SASRec": lambda: sasrec} if config.sasrec_epochs and users.training_UN.shape[1] <= MOST_VIDEOS else {}),
    }
