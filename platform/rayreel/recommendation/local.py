"""A promoted release that answers in this process, without a service."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rayreel.client.messages import RecommendRequest, UploadQuery
from rayreel.encoders.encoder import WordEncoders
from rayreel.index.collection import collection_name
from rayreel.index.search import NoRelease
from rayreel.recommendation.candidates import Searcher
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live, load_live
from rayreel.recommendation.query import Vector, mean_of, weighted_query
from rayreel.recommendation.recommend import (
    PinnedRelease,
    by_vector,
    check_release,
    check_request,
    options_of,
    recommend,
    space_of,
)
from rayreel.recommendation.reranking import Score, rerank, with_candidates
from rayreel.recommendation.results import RankedResults
from rayreel.recommendation.wording import as_searched, corrections, encoded_text
from rayreel.release import audit, registry
from rayreel.release.registry import Version
from rayreel.storage import Storage
from rayreel.tower.embed import QueryVectors, embed_query, embed_words
from rayreel.tower.embedder import Embedder


@dataclass
class IndexOnDemand:
    """An index that is connected at the first search: most queries need none."""

    connect: Callable[[], Searcher]

    @cached_property
    def _index(self) -> Searcher:
        return self.connect()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the methods of the index
        return getattr(self._index, name)


@dataclass
class LocalRelease:
    """The release that was promoted last. Tower, encoders and index are loaded when a query needs them.

    `load_word_encoders` returns the encoders of the version's features, or raises if they cannot be had;
    `load_reranker` the reranker of the settings.
    """

    version: Version
    live: Live
    index: Searcher
    config: RecommendConfig
    load_word_encoders: Callable[[Version], WordEncoders]
    load_reranker: Callable[[], Score]

    @cached_property
    def tower(self) -> Embedder:
        """The version's tower, on the CPU."""
        return registry.load(self.version)

    @cached_property
    def word_encoders(self) -> WordEncoders:
        """The encoders of text queries."""
        return self.load_word_encoders(self.version)

    @cached_property
    def reranker(self) -> Score:
        """The network that reranks results of queries by text."""
        return self.load_reranker()

    def embed(self, text: str) -> Vector:
        """Return the unit embedding [dim] of a text, as the service does. Raises EmptyQuery if the tower reads none."""
        return embed_words(self.tower, self.word_encoders.encode([text])[0])

    def recommend(self, request: RecommendRequest) -> RankedResults:
        """Answer a request. Raises UnknownVideo, BadQuery, BadFilter, EmptyQuery."""
        check_request(self.live, request)
        nearest = corrections(self.live, request, self.config)
        unknown = {word: near for word, near in nearest.items() if not self.word_encoders.knows(word)}
        request, searched = as_searched(request, unknown)
        wanted = with_candidates(request, self.config) if request.rerank else request
        space = space_of(request)
        if request.text is None:
            text_D = None
        elif space is None:
            text_D = self.embed(encoded_text(request))
        else:
            text_D = mean_of(self.word_encoders.encode([request.text])[0], space.modality)
        articles = [] if request.user is None else [self.embed(article) for article in request.user.articles]
        found = replace(recommend(self._pinned, wanted, text_D, articles), searched=searched)
        return rerank(self.live, found, request, self.reranker, self.config.reranked) if request.rerank else found

    def recommend_file(self, vectors: QueryVectors, query: UploadQuery) -> RankedResults:
        """Answer a query by a file with these vectors [n, D] per modality. Raises BadQuery, BadFilter, EmptyQuery."""
        check_release(self.live, query)
        options = options_of(query, self.config)
        if options.space is not None:
            query_D = mean_of(vectors, options.space.modality)
        elif options.weights is None:
            query_D = embed_query(self.tower, vectors)
        else:
            used = self.tower.modalities
            parts = {m: embed_query(self.tower, {m: x}) for m, x in vectors.items() if m in used and len(x)}
            query_D = weighted_query(parts, options.weights)
        return by_vector(self._pinned, query_D, options, query.title)

    @property
    def _pinned(self) -> PinnedRelease:
        return PinnedRelease(self.live, self.index, collection_name(self.version.number), self.config)


def load_promoted(storage: Storage, cache_dir: Path, before: Live | None = None) -> Live:
    """Return the release that was promoted last with all its changes, as `load_live`. Raises NoRelease."""
    number = audit.served()
    if number is None:
        raise NoRelease(f"Nothing has been promoted below {storage.root}. Promote a tower first.")
    live = load_live(storage, number, cache_dir, before)
    if live is None:
        raise NoRelease(f"Release {number} below {storage.root} has no snapshot. Promote version {number} again.")
    return live
