"""Golden queries: queries with known results."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality, TextEncoder
from rayreel.errors import RayreelError
from rayreel.index.search import Hit, VideoIndex
from rayreel.release.config import GoldenQuery
from rayreel.release.gates import ReleaseGate
from rayreel.tower.embed import embed_query
from rayreel.tower.tower import VideoTower

Words = Callable[[str], NDArray[np.float32]]


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


def words_of(tower: VideoTower, encoder: Callable[[], TextEncoder], identity: str) -> Words:
    """Return a function that embeds text with the text encoder and the tower. The first call builds the encoder.

    The function raises WrongEncoder if the encoder is not the one whose features the tower reads.
    """
    built: list[TextEncoder] = []

    def encode(text: str) -> NDArray[np.float32]:
        if not built:
            built.append(encoder())
        if built[0].identity != identity:
            raise WrongEncoder(
                f"Golden queries by text are encoded with {built[0].identity}, but this version reads {identity}. "
                "Promote with the settings (encoders.*) that its features were extracted with."
            )
        return embed_query(tower, {Modality.TEXT: built[0].encode([text])})

    return encode


def _is_expected(hit: Hit, query: GoldenQuery) -> bool:
    if query.expect_category is not None:
        return hit.category == query.expect_category
    return hit.video_id in query.expect_ids


def _found(hits: Sequence[Hit], most: int = 5) -> str:
    shown = ", ".join(f"{hit.video_id} ({hit.category})" if hit.category else hit.video_id for hit in hits[:most])
    return f"found: {shown or 'nothing'}{' …' if len(hits) > most else ''}"
