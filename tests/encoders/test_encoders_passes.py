"""The choice of rows and graphs for passes on a GPU, with passes of simulated duration."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from torch import nn

from rayreel.encoders.passes import (
    BUDGET_S,
    CANDIDATES,
    PassChoice,
    candidates,
    choice_path,
    choose,
    keep_choice,
    kept_choice,
)


def simulated(launch_s: float, row_s: float, *, fits: int = 1 << 20) -> Callable[[int, bool], float]:
    """Passes that take a fixed time per launch, a tenth of it as a graph, and a time per row."""

    def time_pass(rows: int, graph: bool) -> float:
        if rows > fits:
            raise torch.OutOfMemoryError("simulated")
        return launch_s * (0.1 if graph else 1) + rows * row_s

    return time_pass


def chosen(time_pass: Callable[[int, bool], float], rows: Iterable[int] = CANDIDATES) -> tuple[int, bool]:
    choice = choose(rows, time_pass, clock=lambda: 0.0)
    return choice.rows, choice.graph


def test_slow_launches_are_met_with_a_graph_and_more_rows() -> None:
    assert chosen(simulated(launch_s=10e-3, row_s=0.01e-3)) == (256, True)


def test_where_launches_cost_nothing_passes_stay_small_and_plain() -> None:
    assert chosen(simulated(launch_s=0.01e-3, row_s=1e-3)) == (32, False)


def test_noise_below_the_gain_does_not_change_the_choice() -> None:
    noise = iter([1.0, 0.98, 0.97, 0.99, 0.96, 0.98, 0.97, 0.96])
    assert chosen(lambda rows, _: rows * 1e-3 * next(noise)) == (32, False)


def test_a_network_that_cannot_be_a_graph_is_chosen_without() -> None:
    def time_pass(rows: int, graph: bool) -> float:
        if graph:
            raise RuntimeError("operation not permitted when stream is capturing")
        return 1e-3 + rows * 1e-6

    assert chosen(time_pass) == (256, False)


def test_rows_that_do_not_fit_are_not_chosen() -> None:
    assert chosen(simulated(10e-3, 0.01e-3, fits=100)) == (64, True)
    assert chosen(simulated(10e-3, 0.01e-3, fits=5)) == (4, True)
    with pytest.raises(torch.OutOfMemoryError):
        chosen(simulated(10e-3, 0.01e-3, fits=0))


def test_the_search_ends_after_its_budget_with_the_best_so_far() -> None:
    now = [0.0]

    def time_pass(rows: int, graph: bool) -> float:
        now[0] += BUDGET_S
        return 1.0

    assert choose(CANDIDATES, time_pass, clock=lambda: now[0]).rows == 32
    assert now[0] <= 2 * BUDGET_S


def test_candidates_fit_the_inputs_of_a_block_and_queries_have_few() -> None:
    assert candidates(32, most=256) == [32, 64, 128, 256]
    assert candidates(32, most=100) == [32, 64]
    assert list(candidates(32, most=4)) == [32]
    assert candidates(8, most=0) == (8,)


def test_a_choice_is_kept_by_network_candidates_and_device(tmp_path: Path) -> None:
    choice = PassChoice(rows=128, graph=True, row_s=1e-4)
    path = choice_path(tmp_path / "passes", nn.Linear(2, 3), CANDIDATES, torch.float16, "H100")
    keep_choice(path, choice)
    assert kept_choice(path) == choice
    assert choice_path(tmp_path / "passes", nn.Linear(2, 3), CANDIDATES, torch.float16, "H100") == path
    others = [
        choice_path(tmp_path / "passes", nn.Linear(2, 4), CANDIDATES, torch.float16, "H100"),
        choice_path(tmp_path / "passes", nn.Linear(2, 3), (32,), torch.float16, "H100"),
        choice_path(tmp_path / "passes", nn.Linear(2, 3), CANDIDATES, torch.float16, "T4"),
    ]
    assert [kept_choice(other) for other in others] == [None] * 3


def test_a_damaged_choice_is_measured_again(tmp_path: Path) -> None:
    (tmp_path / "choice.json").write_text("{")
    assert kept_choice(tmp_path / "choice.json") is None
    assert kept_choice(None) is None


def test_a_folder_that_cannot_be_written_gives_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "passes").write_text("a file")
    keep_choice(tmp_path / "passes" / "choice.json", PassChoice(rows=1, graph=False, row_s=1))
    assert "not written" in caplog.text
