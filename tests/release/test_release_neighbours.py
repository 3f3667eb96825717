"""Exact neighbours, compared with brute force."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rayreel.release import neighbours as module
from rayreel.release.neighbours import exact_neighbours

# Ray believes the declared number of GPUs; the task uses the devices that exist.
ELSEWHERE = """
import sys
import numpy as np
import ray
from rayreel.release.neighbours import exact_neighbours

ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False, configure_logging=False)
nearest, cosines = exact_neighbours(np.load(f"{sys.argv[1]}/rows.npy"), 7)
np.save(f"{sys.argv[1]}/nearest.npy", nearest)
np.save(f"{sys.argv[1]}/cosines.npy", cosines)
"""


def unit_rows(count: int, dim: int = 16) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def brute_force(rows: np.ndarray, row: int, width: int) -> list[int]:
    cosines = rows @ rows[row]
    order = sorted((other for other in range(len(rows)) if other != row), key=lambda other: (-cosines[other], other))
    return order[:width]


@pytest.mark.parametrize("cells", [1, 500, 1 << 26])
def test_neighbours_equal_brute_force_for_any_chunk_size(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", cells)
    rows = unit_rows(120)
    nearest, cosines = exact_neighbours(rows, 7)
    assert nearest.dtype == np.int32 and cosines.dtype == np.float32
    assert nearest.tolist() == [brute_force(rows, row, 7) for row in range(120)]
    np.testing.assert_allclose(cosines, np.take_along_axis(rows @ rows.T, nearest.astype(int), 1), atol=1e-6)


def test_no_video_is_its_own_neighbour_even_among_its_copies() -> None:
    rows = np.concatenate([unit_rows(5), np.repeat(unit_rows(1), 4, axis=0)])
    nearest, _ = exact_neighbours(rows, 3)
    assert all(row not in neighbours for row, neighbours in enumerate(nearest.tolist()))


def test_equal_scores_are_in_row_order() -> None:
    rows = np.repeat(unit_rows(1), 6, axis=0)
    nearest, cosines = exact_neighbours(rows, 5)
    assert nearest[2].tolist() == [0, 1, 3, 4, 5]
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


@pytest.mark.parametrize(("count", "width"), [(4, 3), (1, 0)])
def test_a_small_catalog_has_fewer_neighbours(count: int, width: int) -> None:
    nearest, cosines = exact_neighbours(unit_rows(count), 10)
    assert nearest.shape == cosines.shape == (count, width)


@pytest.mark.slow
def test_a_gpu_of_another_node_gives_the_same_neighbours(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", unit_rows(50))
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(tmp_path)], check=True)
    nearest, cosines = exact_neighbours(unit_rows(50), 7)
    np.testing.assert_array_equal(np.load(tmp_path / "nearest.npy"), nearest)
    np.testing.assert_allclose(np.load(tmp_path / "cosines.npy"), cosines, atol=1e-6)
