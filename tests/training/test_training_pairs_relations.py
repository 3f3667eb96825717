import numpy as np
import torch
from scipy import sparse

from rayreel.tower.losses.global_batch import FILLER
from rayreel.training.pairs.relations import Alike, Distinct, LabelSets
from rayreel.training.pairs.sources import NONE


def ids(*rows: int) -> torch.Tensor:
    return torch.tensor(rows)


def edges(count: int, *pairs: tuple[int, int]) -> sparse.csr_array:
    dense = np.zeros((count, count), dtype=np.float32)
    for i, j in pairs:
        dense[i, j] = dense[j, i] = 1
    return sparse.csr_array(dense)


def test_a_video_is_alike_to_itself_and_its_copies() -> None:
    alike = Alike([np.array([7, 8, 7, NONE, NONE])], [])
    assert alike(ids(0, 3), ids(0, 1, 2, 3, 4)).tolist() == [
        [True, False, True, False, False],
        [False, False, False, True, False],
    ]


def test_edges_make_videos_alike_for_any_order_and_number_of_ids() -> None:
    alike = Alike([], [edges(6, (0, 5), (2, 3)), edges(6, (1, 5))])
    found = alike(ids(5, 0, 5, 4), ids(1, 0, 0, 5, 3, 2))
    assert found.tolist() == [
        [True, True, True, True, False, False],
        [False, True, True, True, False, False],
        [True, True, True, True, False, False],
        [False] * 6,
    ]
    assert alike(ids(2), ids(3)).item()


def test_relations_match_a_dense_matrix() -> None:
    rng = np.random.default_rng(0)
    dense = np.triu(rng.random((40, 40)) < 0.1, k=1)
    dense |= dense.T
    code = rng.integers(-1, 5, 40)
    rows, others = rng.integers(0, 40, 50), rng.integers(0, 40, 70)
    expected = (rows[:, None] == others) | dense[np.ix_(rows, others)]
    expected |= (code[rows][:, None] == code[others]) & (code[rows] != NONE)[:, None]
    alike = Alike([code], [sparse.csr_array(dense.astype(np.float32))])
    np.testing.assert_array_equal(alike(torch.from_numpy(rows), torch.from_numpy(others)).numpy(), expected)


def test_a_filler_is_not_alike_to_any_video() -> None:
    alike = Alike([np.array([1, 2, 3])], [edges(3, (0, 2), (1, 2))])
    assert not alike(ids(FILLER), ids(0, 1, 2)).any()
    assert not alike(ids(0, 1, 2), ids(FILLER)).any()


def test_a_batch_without_ids_has_no_relations() -> None:
    alike = Alike([np.array([1, 2])], [edges(2, (0, 1))])
    assert alike(ids(0, 1), torch.empty(0, dtype=torch.long)).shape == (2, 0)
    assert alike(torch.empty(0, dtype=torch.long), ids(0, 1)).shape == (0, 2)


def test_distinct_videos_overlap_little() -> None:
    labels = LabelSets.of([None] * 4, [["a", "b"], ["a"], ["a", "c", "d", "e", "f", "g", "h", "i", "j", "k"], []])
    distinct = Distinct(labels, 0.1)
    assert distinct(ids(0, 1), ids(0, 1, 2, 3)).tolist() == [[False, False, True, True], [False, False, True, True]]
