"""The user tower learns what follows what, and is released only if it is better than the mean of a history."""

from math import comb, log

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import load, save
from sklearn.preprocessing import normalize

from feature_rows import feature_matrix, feature_row
from ordered_people import EACH, KINDS, ordered_views
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam, Protocol
from rayreel.evaluation.metrics import per_query
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.scorers import Scorer
from rayreel.evaluation.served import ServedUsers
from rayreel.evaluation.user_tower import by_user_tower
from rayreel.evaluation.users import UserTask
from rayreel.tower.config import UserTowerConfig
from rayreel.tower.user import UserTower
from rayreel.tower.user_history import HistoryBatch
from rayreel.tower.user_network import ItemTable, UserNetwork
from rayreel.training.users.choose import UserChoice, train_users
from rayreel.training.users.fit import NextBatch, step_loss

DIM = 12
SESSIONS = ("attention", "gru", "transformer")
SMALL = {"width": 8, "heads": 2, "history": 5}
CONFIG = UserTowerConfig(width=16, heads=2, history=8, epochs=12, batch_size=256, learning_rate=0.01)


def unit(seed: int = 0) -> NDArray[np.float32]:
    """Embeddings of the videos: each near the axis of its kind; kind = row % KINDS."""
    rng = np.random.default_rng(seed)
    near_ND = np.tile(np.eye(KINDS, DIM), (EACH, 1)) + 0.2 * rng.normal(size=(KINDS * EACH, DIM))
    return np.asarray(normalize(near_ND), np.float32)


def world(people: int = 120, *, in_order: bool = True) -> Exam:
    matrix = feature_matrix(*(feature_row(f"v{row:02}") for row in range(KINDS * EACH)))
    views = ordered_views(people, in_order=in_order)
    return Exam.of(matrix, SplitConfig(user_cut="per_user", test=0.15), EvaluationConfig(), views)


def score(exam: Exam, scorer: Scorer, *, cold: bool | None = None) -> float:
    task = exam.task(Protocol.USERS, "test")
    assert isinstance(task, UserTask) and exam.users is not None
    values_Q = per_query(rank(task, scorer, 10), [10], ["ndcg"])["ndcg@10"]
    is_cold_Q = exam.users.views_N[task.user_queries.targets_Q[task.queries]] == 0
    return float(values_Q.mean() if cold is None else values_Q[is_cold_Q == cold].mean())


@pytest.fixture(scope="module")
def ordered() -> tuple[Exam, UserChoice]:
    exam = world()
    return exam, train_users(unit(), exam, CONFIG)


def tower_scorer(exam: Exam, tower: UserTower) -> Scorer:
    assert exam.users is not None
    return by_user_tower(tower, unit(), exam.matrix.column("video_id"), exam.users.test)


def test_what_the_last_video_says_about_the_next_is_learnt_and_the_mean_does_not_know_it(
    ordered: tuple[Exam, UserChoice],
) -> None:
    exam, choice = ordered
    assert choice.tower is not None and choice.p < 0.05 and choice.low > 0
    assert exam.users is not None
    served = ServedUsers(unit(), exam.users.test).scorer()
    for cold in (None, True):  # also for videos that training has not seen, by their embeddings
        assert score(exam, tower_scorer(exam, choice.tower), cold=cold) > 1.5 * score(exam, served, cold=cold)


def test_a_tower_that_is_not_better_is_refused() -> None:
    choice = train_users(unit(), world(in_order=False), CONFIG.model_copy(update={"epochs": 2}))
    assert choice.tower is None and "not significantly better" in choice.reason
    assert choice.people > 40 and choice.metrics
    always = train_users(unit(), world(in_order=False), CONFIG.model_copy(update={"epochs": 2}), gate=False)
    assert always.tower is not None and always.score == choice.score


def test_too_few_people_are_not_enough_to_decide() -> None:
    choice = train_users(unit(), world(people=12), CONFIG)
    assert choice.tower is None and "of 40 needed" in str(choice) and not choice.metrics


def test_training_is_reproducible(ordered: tuple[Exam, UserChoice]) -> None:
    _, choice = ordered
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)  # the caller's generator says nothing
        again = train_users(unit(), world(), CONFIG)
    assert choice.tower is not None and again.tower is not None
    assert again.tower.to_bytes() == choice.tower.to_bytes()


@pytest.mark.parametrize("corrected", [True, False])
def test_logq_keeps_popular_videos_from_being_pushed_away(corrected: bool) -> None:
    """Of two videos, one is watched in nine of ten cases, whatever came before. Its popularity should say so."""
    torch.manual_seed(0)
    network = UserNetwork(UserTowerConfig(width=2, heads=1, history=1, dropout=0, id_dropout=0), 2, 2)
    items = ItemTable(torch.zeros(2, 2), torch.tensor([1, 2]))
    nothing = HistoryBatch(torch.full((4, 1), -1), torch.ones(4, 1), torch.zeros(4, 1))
    # Of all batches of four, 34 % have the rare video. Those of one video teach nothing.
    log_q_N = torch.tensor([1 - 0.1**4, 1 - 0.9**4]).log() if corrected else None
    batches = [(comb(4, rare) * 0.1**rare * 0.9 ** (4 - rare), rare) for rare in (1, 2, 3)]
    optimizer = torch.optim.Adam([network.popularity.weight], lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        for chance, rare in batches:
            targets_B = torch.tensor([1] * rare + [0] * (4 - rare))
            batch = NextBatch(nothing, targets_B, torch.unique(targets_B))
            (chance * step_loss(network, items, batch, log_q_N).mean()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    odds = float((network.popularity.weight[1, 0] - network.popularity.weight[2, 0]).detach())
    true_odds = log(0.9 / 0.1)
    assert (abs(odds - true_odds) < 0.5) if corrected else (odds < true_odds - 0.7)


def test_what_is_in_a_history_is_no_negative_of_it() -> None:
    network = UserNetwork(UserTowerConfig(width=2, heads=1, history=2, dropout=0, id_dropout=0), 2, 0)
    items = ItemTable(torch.eye(2), torch.zeros(2, dtype=torch.int64))
    history = HistoryBatch(torch.tensor([[0, -1], [0, -1]]), torch.ones(2, 2), torch.zeros(2, 2))
    # The first person rewatches 0, and 1 stays a candidate for them; to the second, 0 is no alternative to 1.
    both = torch.tensor([0, 1])
    first = step_loss(network, items, NextBatch(history.newest(1), both, both), None).mean()
    torch.testing.assert_close(first, torch.log1p(torch.exp(-network.scale)).detach() / 2, check_dtype=False)


@pytest.mark.parametrize("session", SESSIONS)
def test_padding_and_the_rest_of_a_batch_change_nothing(session: str) -> None:
    torch.manual_seed(0)
    network = UserNetwork(UserTowerConfig.model_validate({"session": session, **SMALL}), DIM, 10).eval()
    torch.nn.init.normal_(network.out.weight)
    items = ItemTable(torch.from_numpy(unit()[:10]), torch.arange(1, 11))
    alone = HistoryBatch(torch.tensor([[3, 1]]), torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 60.0]]))
    longer = HistoryBatch(
        torch.tensor([[3, 1, -1, -1], [-1, -1, -1, -1], [5, 4, 3, 2]]),
        torch.tensor([[1.0, 3.0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]),
        torch.tensor([[0.0, 60, 0, 0], [0, 0, 0, 0], [0, 1, 2, 3]]),
    )
    one, several = network(items, alone), network(items, longer)
    torch.testing.assert_close(several.content_BD[:1], one.content_BD)
    assert torch.equal(several.residual_BW[1, :-1], network.out.bias / network.scale)  # nothing was read
    assert all(vectors.isfinite().all() for vectors in (several.content_BD, several.residual_BW))


@pytest.mark.parametrize("session", SESSIONS)
def test_the_order_of_a_history_matters(session: str) -> None:
    torch.manual_seed(0)
    network = UserNetwork(UserTowerConfig.model_validate({"session": session, **SMALL}), DIM, 10).eval()
    for weight in (network.out.weight, *(value for value in network.reader.parameters() if value.ndim > 1)):
        torch.nn.init.normal_(weight)
    items, none = ItemTable(torch.from_numpy(unit()[:10]), torch.arange(1, 11)), torch.zeros(1, 3)
    forth, back = (
        network(items, HistoryBatch(torch.tensor([rows]), none + 1, none)) for rows in ([1, 2, 3], [1, 3, 2])
    )
    assert float((forth.residual_BW - back.residual_BW).abs().detach().max()) > 1e-4


@pytest.mark.parametrize("session", ["gru", "transformer"])
def test_each_reader_learns_what_follows_what_and_is_saved(session: str) -> None:
    exam = world()
    choice = train_users(unit(), exam, CONFIG.model_copy(update={"session": session}))
    assert choice.tower is not None and exam.users is not None
    served = ServedUsers(unit(), exam.users.test).scorer()
    assert score(exam, tower_scorer(exam, choice.tower)) > 1.5 * score(exam, served)
    again = UserTower.from_bytes(choice.tower.to_bytes())
    assert score(exam, tower_scorer(exam, again)) == pytest.approx(score(exam, tower_scorer(exam, choice.tower)))


def test_towers_that_were_saved_before_there_were_other_readers_can_be_loaded() -> None:
    tower = UserTower.of(CONFIG, DIM, ["a", "b"])
    tensors = load(tower.to_bytes())
    before = save({name.removeprefix("reader."): tensor for name, tensor in tensors.items()})
    assert UserTower.from_bytes(before).to_bytes() == tower.to_bytes()


def test_the_heads_of_a_transformer_divide_its_width() -> None:
    with pytest.raises(ValidationError, match=r"user_tower\.heads"):
        UserTowerConfig(session="transformer", width=10, heads=4)
