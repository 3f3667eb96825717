import numpy as np
from scipy import sparse

from rayreel.training.pairs.sources import NONE, Graph

WEIGHTS = np.array(
    [[0, 1, 3, 0, 0], [1, 0, 0, 0, 0], [3, 0, 0, 2, 0], [0, 0, 2, 0, 0], [0, 0, 0, 0, 0]], dtype=np.float32
)
GRAPH = Graph.of(sparse.csr_array(WEIGHTS))


def test_partners_are_drawn_in_proportion_to_edge_weight() -> None:
    drawn = GRAPH.partners(np.full(4000, 0), np.random.default_rng(0))
    assert set(drawn.tolist()) == {1, 2}
    assert abs((drawn == 2).mean() - 0.75) < 0.03


def test_a_row_without_an_edge_has_no_partner() -> None:
    assert GRAPH.has_N().tolist() == [True] * 4 + [False]
    assert GRAPH.partners(np.array([4, 1, 4]), np.random.default_rng(0)).tolist() == [NONE, 0, NONE]


def test_partner_frequency_matches_the_draws() -> None:
    weight = np.array([1.0, 2, 3, 4, 5]) / 15
    rng = np.random.default_rng(0)
    drawn = GRAPH.partners(rng.choice(5, size=30000, p=weight), rng)
    found = np.bincount(drawn[drawn != NONE], minlength=5) / 30000
    np.testing.assert_allclose(found, GRAPH.partner_frequency(weight), atol=0.02)


def test_a_graph_without_edges_has_no_partners() -> None:
    empty = Graph.of(sparse.csr_array((3, 3), dtype=np.float32))
    assert empty.partners(np.arange(3), np.random.default_rng(0)).tolist() == [NONE] * 3
    assert empty.partner_frequency(np.ones(3)).tolist() == [0, 0, 0]
