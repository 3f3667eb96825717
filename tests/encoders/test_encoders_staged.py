"""Passes of a fixed number of rows: on the CPU, what is the same there."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from rayreel.encoders.compute import Compute
from rayreel.encoders.halved import halve
from rayreel.encoders.passes import PassChoice, choice_path, keep_choice, kept_choice
from rayreel.encoders.runtime import TorchRuntime, encode_groups, encode_rows
from rayreel.encoders.staged import StagedRuntime

NORMS = (nn.LayerNorm, nn.BatchNorm2d)
CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
FRAMES = RANDOM.integers(0, 256, (37, 8, 8, 3), dtype=np.uint8)


class Pictures(nn.Module):
    """A small network on frames, of a convolution, a norm and a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.linear = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8 * 36, 5)
        self.passes: list[int] = []
        self.fits = 1 << 20

    def forward(self, frames_BHWC: Tensor) -> Tensor:
        self.passes.append(len(frames_BHWC))
        if len(frames_BHWC) > self.fits:
            raise torch.OutOfMemoryError("simulated")
        x: Tensor = self.norm(self.conv(frames_BHWC.permute(0, 3, 1, 2).float() / 255))
        y: Tensor = self.linear(x.flatten(1))
        return y


def staged(network: nn.Module, folder: Path, candidates: Sequence[int] = (4, 8)) -> StagedRuntime:
    return StagedRuntime(network, Compute(CPU, choices=folder, candidates=candidates))


def with_rows(tmp_path: Path, network: nn.Module, rows: int) -> StagedRuntime:
    path = choice_path(tmp_path, network, (4, 8), torch.float32, "cpu", False)
    keep_choice(path, PassChoice(rows=rows, graph=False, row_s=0.001))
    return staged(network, tmp_path)


def test_passes_have_the_chosen_rows_and_give_the_vectors_of_single_inputs(tmp_path: Path) -> None:
    network = Pictures()
    found = encode_rows(FRAMES, with_rows(tmp_path, network, 8), 5)
    assert set(network.passes) == {8}
    np.testing.assert_allclose(found, encode_rows(FRAMES, TorchRuntime(Pictures(), Compute(CPU)), 5), atol=1e-5)


def test_a_vector_does_not_depend_on_its_neighbours_in_any_bit(tmp_path: Path) -> None:
    runtime = with_rows(tmp_path, Pictures(), 8)
    together = encode_rows(FRAMES, runtime, 5)
    order = RANDOM.permutation(len(FRAMES))
    regrouped = np.concatenate([encode_rows(FRAMES[part], runtime, 5) for part in np.split(order, [3, 4, 20])])
    np.testing.assert_array_equal(regrouped, together[order])


def test_groups_of_other_shapes_have_passes_of_their_own(tmp_path: Path) -> None:
    class Sums(nn.Module):
        def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
            return (ids_BT * mask_BT).sum(dim=1, keepdim=True).float()

    lengths = np.array([2, 3, 2, 3, 3])
    groups = [
        (rows := np.flatnonzero(lengths == length), (np.full((len(rows), length), 7), np.ones((len(rows), length))))
        for length in (2, 3)
    ]
    found = encode_groups(groups, staged(Sums(), tmp_path, candidates=(2,)), 5, 1)
    assert found[:, 0].tolist() == [14, 21, 14, 21, 21]


def test_the_choice_is_measured_once_and_kept_for_other_processes(tmp_path: Path) -> None:
    first = staged(Pictures(), tmp_path)
    encode_rows(FRAMES, first, 5)
    (path,) = tmp_path.iterdir()
    choice = kept_choice(path)
    assert choice is not None and choice.rows in {4, 8} and not choice.graph and choice.row_s > 0
    network = Pictures()
    encode_rows(FRAMES, staged(network, tmp_path), 5)
    assert len(network.passes) == -(-len(FRAMES) // choice.rows), "it measured again"


def test_the_meter_adds_what_bare_passes_cost_without_padding(tmp_path: Path) -> None:
    runtime = with_rows(tmp_path, Pictures(), 8)
    encode_rows(FRAMES, runtime, 5)
    encode_rows(FRAMES[:3], runtime, 5)
    assert runtime._compute.meter.seconds == pytest.approx(0.001 * (len(FRAMES) + 3))


def test_without_memory_the_rows_are_lowered_for_later_processes_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = Pictures()
    runtime = with_rows(tmp_path, network, 8)
    expected = encode_rows(FRAMES, runtime, 5)
    network.fits = 3
    found = encode_rows(FRAMES, runtime, 5)
    assert network.passes[-1] == 2
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert "from now on they have 2" in caplog.text
    (path,) = tmp_path.iterdir()
    kept = kept_choice(path)
    assert kept is not None and kept.rows == 2


def test_a_network_that_needs_too_much_memory_for_one_row_says_so(tmp_path: Path) -> None:
    network = Pictures()
    runtime = with_rows(tmp_path, network, 8)
    network.fits = 0
    with pytest.raises(torch.OutOfMemoryError):
        encode_rows(FRAMES, runtime, 5)


class Mixed(nn.Module):
    """What autocast treats in different ways."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = weight_norm(nn.Conv1d(4, 8, 3, padding=1), dim=2)
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x_BCT: Tensor) -> Tensor:
        x_BTC = self.linear(self.norm(self.conv(x_BCT).transpose(1, 2)))
        y: Tensor = self.attention(x_BTC, x_BTC, x_BTC, need_weights=False)[0]
        return y.mean(dim=1)


def picture_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.Flatten())


@pytest.mark.parametrize(("build", "shape"), [(Mixed, (3, 4, 6)), (picture_network, (3, 4, 6, 6))])
def test_converted_weights_give_the_bits_of_autocast(
    build: Callable[[], nn.Module], shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of attention, autocast on CUDA uses the plain path; on a CPU, PyTorch would take another one for float32.
    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)
    plain, halved, x = build().eval(), halve(build().eval(), torch.bfloat16), torch.randn(shape)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(halved(x), plain(x), atol=0, rtol=0)
    norms = {id(p) for module in halved.modules() if isinstance(module, NORMS) for p in module.parameters()}
    kinds = {id(parameter) in norms: parameter.dtype for parameter in halved.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
