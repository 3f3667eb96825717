"""Checks of a newly built release before it serves."""

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality, WordEncoders
from rayreel.errors import RayreelError
from rayreel.features.store import FeatureStore
from rayreel.index.search import Hit, VideoIndex
from rayreel.index.verify import recall
from rayreel.release.config import GoldenQuery
from rayreel.release.embed import StoreDifference
from rayreel.release.fill import verify
from rayreel.release.gates import ReleaseGate
from rayreel.release.rows import embeddings
from rayreel.release.site import Candidate
from rayreel.release.snapshot import snapshot_pointer
from rayreel.tower.embed import embed_words
from rayreel.tower.embedder import Embedder

_NEAREST = 10
_QUERIES_AT_ONCE = 16
Words = Callable[[str], NDArray[np.float32]]


def whole(candidate: Candidate, found: StoreDifference) -> list[ReleaseGate]:
    """Check that rows and index hold exactly the store's videos; `found` is how the rows differ from the store."""
    return [_rows(candidate, found), _index(candidate)]


def sound(candidate: Candidate) -> list[ReleaseGate]:
    """Check that there is a snapshot and that the index finds what exact search finds."""
    return [_snapshot(candidate), _recall(candidate)]


def golden(candidate: Candidate) -> list[ReleaseGate]:
    """Check that golden queries find the expected videos."""
    site, key = candidate.site, candidate.store.key
    words = words_of(candidate.tower, site.word_encoders, key.identities[Modality.TEXT])
    return list(golden_gates(site.release.gates.golden, candidate.index, words))


def _rows(candidate: Candidate, found: StoreDifference) -> ReleaseGate:
    """Check that rows and feature rows have the same videos and versions, except videos that the tower cannot read."""
    missing, surplus = {video_id for video_id, _ in found.missing}, found.surplus
    seen = _seen(candidate.store, missing, candidate.tower.modalities) if missing else set()
    finding = f"{len(found.present)} rows of {len(found.wanted)} feature rows"
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


class WrongEncoder(RayreelError):
    """The text encoder is not the one that the version was trained with."""


def golden_gates(queries: Sequence[GoldenQuery], index: VideoIndex, encode: Words) -> Iterator[ReleaseGate]:
    """Run each query as the service would, and yield its gate; `encode` embeds text with the release's tower."""
    for query in queries:
        name = f"golden query {query.video_id or query.text!r}"
        embedding = index.get(query.video_id) if query.video_id is not None else encode(query.text or "")
        if embedding is None:
            yield ReleaseGate(name, False, f"the release does not hold {query.video_id!r}", quality=True)
            continue
        itself = [] if query.video_id is None else [query.video_id]
        hits = index.search(embedding, query.top_k, itself)
        expected = [hit for hit in hits if _is_expected(hit, query)]
        wanted = "" if len(expected) >= query.at_least else f", at least {query.at_least} required; {_found(hits)}"
        finding = f"{len(expected)} of the first {query.top_k} as expected{wanted}"
        yield ReleaseGate(name, len(expected) >= query.at_least, finding, quality=True)


def words_of(tower: Embedder, encoder: Callable[[], WordEncoders], identity: str) -> Words:
    """Return a function that embeds text with the text encoder and the tower. The first call builds the encoder.

    The function raises WrongEncoder if the encoder is not the one whose features the tower reads.
    """
    built: list[WordEncoders] = []

    def encode(text: str) -> NDArray[np.float32]:
        if not built:
            built.append(encoder())
        if built[0].identity != identity:
            raise WrongEncoder(
                f"Golden queries by text are encoded with {built[0].identity}, but this version reads {identity}. "
                "Promote with the settings (encoders.*) that its features were extracted with."
            )
        return embed_words(tower, built[0].encode([text])[0])

    return encode


def _is_expected(hit: Hit, query: GoldenQuery) -> bool:
    if query.expect_category is not None:
        return hit.category == query.expect_category
    return hit.video_id in query.expect_ids


def _found(hits: Sequence[Hit], most: int = 5) -> str:
    shown = ", ".join(f"{hit.video_id} ({hit.category})" if hit.category else hit.video_id for hit in hits[:most])
    return f"found: {shown or 'nothing'}{' …' if len(hits) > most else ''}"
