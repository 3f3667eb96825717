"""Item-to-item retrieval: rank similar videos for each held-out video."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import MultiLabelBinarizer

from rayreel.evaluation.metrics import per_query
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.scorers import Rows, Scorer, Vectors, by_embedding
from rayreel.evaluation.splits import Names, coded
from rayreel.evaluation.task import Task

_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class ItemTask:
    """Queries, candidates and relevance.

    A candidate is relevant if the product of traits_NX[query] and traits_XC[:, candidate] is not zero. The query and
    its group (other cuts of the same source) are excluded: they are trivial to find.
    """

    queries: NDArray[np.int64]
    candidates: NDArray[np.int64]
    traits_NX: sparse.csr_array
    traits_XC: sparse.csr_array
    groups_N: NDArray[np.int64]

    @staticmethod
    def of(queries: Rows, candidates: Rows, categories: Names, groups: Names) -> "ItemTask":
        """Make videos of the query's category relevant."""
        return ItemTask._by_traits(queries, candidates, _categories(categories), groups)

    @staticmethod
    def by_tags(queries: Rows, candidates: Rows, tags: Sequence[Sequence[str]], groups: Names) -> "ItemTask":
        """Make videos that share a tag with the query relevant."""
        found = MultiLabelBinarizer(sparse_output=True).fit_transform(tags)
        return ItemTask._by_traits(queries, candidates, sparse.csr_array(found, dtype=np.float32), groups)

    @staticmethod
    def _by_traits(queries: Rows, candidates: Rows, traits_NX: sparse.csr_array, groups: Names) -> "ItemTask":
        candidates = shuffled(candidates)
        task = ItemTask(queries, candidates, traits_NX, traits_NX[candidates].T.tocsr(), coded(groups)[0])
        return _drop_empty_queries(task)

    @staticmethod
    def by_co_watch(queries: Rows, candidates: Rows, together_NN: sparse.csr_array, groups: Names) -> "ItemTask":
        """Make videos that were co-watched with the query relevant; together_NN is symmetric."""
        candidates = shuffled(candidates)
        position_NC = sparse.eye_array(len(groups), format="csc", dtype=np.float32)[:, candidates].tocsr()
        return _drop_empty_queries(ItemTask(queries, candidates, together_NN, position_NC, coded(groups)[0]))

    @property
    def clusters(self) -> NDArray[np.int64]:
        """The queries' groups."""
        return self.groups_N[self.queries]

    def relevant(self, queries: Rows) -> sparse.csr_array:
        """[q, C]: shares a trait with the query and is of another group."""
        shared_QC = (self.traits_NX[queries] @ self.traits_XC).astype(np.bool_)
        return (shared_QC > self.excluded(queries)).tocsr()

    def excluded(self, queries: Rows) -> sparse.csr_array:
        """[q, C]: the query's own group."""
        groups = int(self.groups_N.max()) + 1
        members_GC = one_hot(self.groups_N[self.candidates], groups).T.tocsr()
        return (one_hot(self.groups_N[queries], groups) @ members_GC).astype(np.bool_)

    def by(self, vectors_ND: Vectors) -> Scorer:
        """Score by the inner product of query and candidate."""
        return by_embedding(vectors_ND)


def measure(task: Task, scorer: Scorer, ks: Sequence[int] = (5, 10)) -> dict[str, float]:
    """Return the mean of every metric over the queries, such as {"recall@10": 0.5}; empty without queries."""
    if len(task.queries) == 0:
        return {}
    return {name: float(values.mean()) for name, values in per_query(rank(task, scorer, max(ks)), ks).items()}


def _drop_empty_queries(task: ItemTask) -> ItemTask:
    """Leave out queries without a relevant candidate, for which all rankings would score zero."""
    chunks = [task.queries[start : start + _CHUNK] for start in range(0, len(task.queries), _CHUNK)]
    kept = [chunk[np.diff(task.relevant(chunk).indptr) > 0] for chunk in chunks]
    queries = np.concatenate([np.empty(0, np.int64), *kept])
    return ItemTask(queries, task.candidates, task.traits_NX, task.traits_XC, task.groups_N)


def shuffled(candidates: Rows) -> NDArray[np.int64]:
    """Return the candidates in a fixed random order."""
    return np.random.default_rng(0).permutation(candidates)


def _categories(names: Names) -> sparse.csr_array:
    """One-hot categories [N, categories]; an empty name is no category."""
    code_N, kinds = coded(names)
    named_N = np.asarray(pc.not_equal(kinds, ""))[code_N]
    offsets = np.concatenate([[0], np.cumsum(named_N)])
    return sparse.csr_array((np.ones(offsets[-1], np.float32), code_N[named_N], offsets), (len(code_N), len(kinds)))


def one_hot(codes: NDArray[np.int64], kinds: int) -> sparse.csr_array:
    """Return [len(codes), kinds] with a one at each row's code."""
    return sparse.csr_array((np.ones(len(codes), np.int8), codes, np.arange(len(codes) + 1)), (len(codes), kinds))
