"""Checks of a newly built release before it serves."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.features.store import FeatureStore, open_store
from rayreel.index.verify import recall
from rayreel.release.embed import compare
from rayreel.release.fill import verify
from rayreel.release.gates import ReleaseGate
from rayreel.release.golden import golden_gates, words_of
from rayreel.release.rows import embeddings
from rayreel.release.site import Candidate
from rayreel.release.snapshot import snapshot_pointer

_NEAREST = 10
_QUERIES_AT_ONCE = 16


def sound(candidate: Candidate) -> list[ReleaseGate]:
    """Check that rows, index and snapshot are complete and that the index finds what exact search finds."""
    return [_rows(candidate), _index(candidate), _snapshot(candidate), _recall(candidate)]


def golden(candidate: Candidate) -> list[ReleaseGate]:
    """Check that golden queries find the expected videos."""
    site, key = candidate.site, open_store(candidate.site.storage, candidate.version.encoder_key).key
    words = words_of(candidate.tower, site.text_encoder, key.identities[Modality.TEXT])
    return list(golden_gates(site.release.gates.golden, candidate.index, words))


def is_whole(candidate: Candidate) -> bool:
    """Whether rows and index hold exactly the store's current videos."""
    return _rows(candidate).passed and _index(candidate).passed


def _rows(candidate: Candidate) -> ReleaseGate:
    """Check that rows and feature rows have the same videos and versions, except videos that the tower cannot read."""
    store = open_store(candidate.site.storage, candidate.version.encoder_key)
    pairs, surplus = compare(store, candidate.rows)
    missing = {video_id for video_id, _ in pairs}
    seen = _seen(store, missing, candidate.tower.config.modalities) if missing else set()
    finding = f"{len(candidate.rows.current())} rows of {len(store.read(['video_id']))} feature rows"
    if blind := len(missing - seen):
        finding += f"; {blind} without a modality that the tower reads"
    if seen or surplus:
        finding += f"; {len(seen)} missing, {len(surplus)} surplus: promote again"
    return ReleaseGate("rows", not seen and not surplus, finding)


def _seen(store: FeatureStore, video_ids: Collection[str], modalities: Collection[str]) -> set[str]:
    """Return those of the videos that have a modality that the tower reads."""
    table = store.read(["video_id", *modalities])
    table = table.filter(pc.is_in(table["video_id"], value_set=pa.array(sorted(video_ids), pa.string())))
    has_N = np.any([np.asarray(table[name].is_valid()) for name in modalities], axis=0)
    return set(table["video_id"].filter(pa.array(has_N, pa.bool_())).to_pylist())


def _index(candidate: Candidate) -> ReleaseGate:
    site = candidate.site
    apart = verify(site.client, candidate.rows, candidate.collection, site.index, repair=False)
    finding = f"{candidate.collection} has exactly these videos"
    if any(apart):
        counts = f"{len(apart.missing)} missing, {len(apart.stale)} stale, {len(apart.surplus)} surplus"
        finding = (
            f"{candidate.collection} has {counts}: run `rayreel index --version {candidate.version.number} --verify`"
        )
    return ReleaseGate("index rows", not any(apart), finding)


def _snapshot(candidate: Candidate) -> ReleaseGate:
    pointer = snapshot_pointer(candidate.site.storage, candidate.version.number)
    found = "missing: promote again" if pointer is None else f"{pointer['name']} of {pointer['videos']} videos"
    return ReleaseGate("snapshot", pointer is not None, found)


def _recall(candidate: Candidate) -> ReleaseGate:
    """Measure recall of the index against exact search over all rows, on a fixed random sample."""
    gates = candidate.site.release.gates
    table = candidate.rows.read(columns=["embedding"]).rows
    vectors_ND, ids = embeddings(table), table["video_id"].to_pylist()
    rng = np.random.default_rng(candidate.version.number)
    sample_Q = rng.permutation(len(ids))[: gates.recall_sample]
    exact = [[ids[row] for row in near] for near in _exact(vectors_ND, sample_Q, _NEAREST)]
    found = recall(
        candidate.site.client, candidate.collection, vectors_ND[sample_Q], exact, candidate.site.index, k=_NEAREST
    )
    short = "" if found >= gates.min_recall else f", {gates.min_recall - found:.3f} too low: raise index.ef_search"
    finding = f"recall@{_NEAREST} {found:.3f} of exact search on {len(sample_Q)} videos{short}"
    return ReleaseGate("recall of the index", found >= gates.min_recall, finding)


def _exact(vectors_ND: NDArray[np.float32], sample_Q: NDArray[np.int64], k: int) -> list[NDArray[np.int64]]:
    """Return the rows nearest to each sampled row, including itself, best first."""
    found = []
    for start in range(0, len(sample_Q), _QUERIES_AT_ONCE):
        scores_QN = vectors_ND[sample_Q[start : start + _QUERIES_AT_ONCE]] @ vectors_ND.T
        found += list(np.argsort(-scores_QN, axis=1, kind="stable")[:, :k])
    return found
