"""The encode deployment: frozen encoders, and the towers of recent releases."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ray import serve

from rayreel.catalog.video import CatalogVideo
from rayreel.compat.ray_serve import most_calls
from rayreel.encoders.compute import device_named
from rayreel.encoders.cross_encoder import CrossEncoder, load_cross_encoder
from rayreel.encoders.encoder import Modality
from rayreel.encoders.text_weights import TextWeights, weights_in
from rayreel.errors import RayreelError
from rayreel.failures import Reason, Rejected
from rayreel.features.key import EncoderKey
from rayreel.features.texts import means_of, parts_of, written_fields
from rayreel.media.clip import Clip
from rayreel.media.pictures import pictures_in
from rayreel.recommendation.query import mean_of, weighted_query
from rayreel.release import registry
from rayreel.release.embed import embed_table
from rayreel.release.registry import Version
from rayreel.settings import Settings
from rayreel.tower.embed import EmptyQuery, QueryVectors, embed_queries
from rayreel.tower.embedder import Embedder
from rayreel.training.tracking import use_tracking
from serve_apps.content import Content
from serve_apps.decoders import Decoders
from serve_apps.encoder_sets import EncoderSet, run_each
from serve_apps.feature_row import feature_row
from serve_apps.observe import Metrics, log_with_serve
from serve_apps.problems import Unavailable

log = logging.getLogger(__name__)

Array = NDArray[Any]
Embedding = NDArray[np.float32]

# During a switch of releases, some requests still need the previous one. `serve.beside_releases` come on top.
RELEASES = 2
MAX_BATCH = 32


class WrongEncoders(Unavailable):
    """The encoders of the release cannot be loaded in this service."""


class LoadedRelease(NamedTuple):
    """A release's encoders and tower."""

    encoders: EncoderSet
    tower: Embedder

    @property
    def key(self) -> EncoderKey:
        """The key of the features that the tower reads."""
        return self.encoders.key


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded video, ready to be written: its rows for the feature store and for the requested release."""

    features: pa.Table
    release_rows: pa.Table


@serve.deployment(name="encode")
class Encode:
    """Embeds queries and new videos with the encoders and the tower of the requested release.

    Each network batches inputs across requests: those that arrive during a batch form the next one. By default nothing
    waits for a batch to fill; see `reconfigure`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.metrics = settings, Metrics()
        log_with_serve()
        use_tracking(settings.place)
        self.device = device_named(settings.encoders.device)
        self._sets: dict[str, EncoderSet] = {}
        self._releases: OrderedDict[int, LoadedRelease] = OrderedDict()
        self._reranker: CrossEncoder | None = None
        self._loading = asyncio.Lock()
        self._decoders = Decoders(settings, self.metrics, most_calls())
        self.pictures = pictures_in(settings.place, settings.extract.pictures)
        self._start()

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Set `max_batch_size` (1: no batching) and `batch_wait_timeout_s` without a restart."""
        for method in (
            self._encode_frames,
            self._encode_windows,
            self._encode_text,
            self._encode_words,
            self._run_tower,
        ):
            method.set_max_batch_size(int(user_config.get("max_batch_size", MAX_BATCH)))
            method.set_batch_wait_timeout_s(float(user_config.get("batch_wait_timeout_s", 0.0)))

    async def check_health(self) -> None:
        """Report queue lengths; Serve calls this every few seconds."""
        self.metrics.report_queues()

    async def describe(self, version: int) -> dict[str, str]:
        """Return the device and the encoders of a release. Loads them and its tower; raises if that fails."""
        release = await self._release(version)
        return {"device": str(self.device), **{m.value: name for m, name in release.key.identities.items()}}

    async def texts(self, texts: Sequence[str], version: int) -> Embedding:
        """Return the embeddings [len(texts), dim] of queries by text."""
        return np.stack(await asyncio.gather(*(self._text(text, version) for text in texts)))

    async def known(self, words: Sequence[str], version: int) -> list[bool]:
        """Return for each word whether it is one of the text encoder's vocabulary."""
        encoders = (await self._release(version)).encoders.words
        return [encoders.knows(word) for word in words]

    async def words_in(self, text: str, version: int, modality: Modality) -> Embedding:
        """Return a query by text in an encoder's own space, [D]. Raises BadQuery if that has no text side."""
        return mean_of(await self._encode_words(((await self._release(version)).encoders, text)), modality)

    async def rerank(self, text: str, texts: list[str]) -> Array:
        """Return how well each text answers another one, [len(texts)]. Raises Unavailable without the cross-encoder."""
        async with self._loading:
            if self._reranker is None:
                self._reranker = await asyncio.to_thread(self._load_reranker)
        self.metrics.batch("rerank", len(texts))
        with self.metrics.stage("rerank"):
            return await asyncio.to_thread(self._reranker.score, text, texts)

    async def video_in(
        self, content: Content, title: str, version: int, space: Modality, seconds: float
    ) -> Embedding | Rejected:
        """Return a video file in an encoder's own space, [D], or why it cannot be used. Raises BadQuery if absent."""
        release = await self._release(version)
        clip = await self._decoders.decode(content, seconds, release.key)
        return clip if isinstance(clip, Rejected) else mean_of(await self._vectors(release, clip, title), space)

    async def video(
        self, content: Content, title: str, version: int, weights: Mapping[Modality, float] | None, seconds: float
    ) -> Embedding | Rejected:
        """Embed a video file within `seconds`, or return why it cannot be used.

        With `weights`, the embedding is mixed from the single-modality embeddings of the file. Raises BadQuery if they
        leave nothing of it.
        """
        release = await self._release(version)
        clip = await self._decoders.decode(content, seconds, release.key)
        if isinstance(clip, Rejected):
            return clip
        vectors = await self._vectors(release, clip, title)
        if weights is None:
            return await self._embedding(release, vectors)
        return weighted_query(await self._parts(release, vectors), weights)

    async def new_video(
        self, source: Content | str, video: CatalogVideo, version: int, seconds: float
    ) -> Encoded | Rejected:
        """Encode a video to add, from its content or URI. Rejected if it has no modality that the tower reads."""
        release = await self._release(version)
        clip = await self._decoders.decode(source, seconds, release.key)
        if isinstance(clip, Rejected):
            return clip
        if self.pictures is not None:
            await asyncio.to_thread(self.pictures.keep, [clip], release.key.sampling.window)
        vectors = await self._vectors(release, clip, video.text())
        if (weights := weights_in(release.key.identities[Modality.TEXT])) is not None:
            vectors |= await self._weighted_text(release, video, weights)
        features = feature_row(video, clip, vectors, release.key)
        rows = await asyncio.to_thread(embed_table, release.tower, features)
        if not rows.num_rows:
            return Rejected(Reason.NO_FRAMES, "The video has no modality that the release's tower reads.")
        return Encoded(features, rows)

    async def embed_again(self, features: pa.Table, version: int) -> pa.Table | None:
        """Return the rows of another release for a video that is encoded already; None if that has other encoders."""
        release = await self._release(version)
        if features["encoder_key"][0].as_py() != str(release.key):
            return None
        return await asyncio.to_thread(embed_table, release.tower, features)

    async def _text(self, text: str, version: int) -> Embedding:
        release = await self._release(version)
        words = await self._encode_words((release.encoders, text))
        return await self._embedding(release, release.tower.centred(words))

    async def _embedding(self, release: LoadedRelease, vectors: QueryVectors) -> Embedding:
        embedding_D: Embedding = await self._run_tower((release.tower, vectors))
        if not embedding_D.any():
            raise EmptyQuery(
                "The release's tower reads no modality of this query. Query by another one, such as text or video."
            )
        return embedding_D

    async def _parts(self, release: LoadedRelease, vectors: QueryVectors) -> dict[Modality, Embedding]:
        """Return the embedding [dim] of each modality alone, of those that the tower reads."""
        parts = await asyncio.gather(*(self._run_tower((release.tower, {m: vectors[m]})) for m in vectors))
        return {modality: part_D for modality, part_D in zip(vectors, parts, strict=True) if part_D.any()}

    async def _vectors(self, release: LoadedRelease, clip: Clip, text: str) -> QueryVectors:
        encoders = release.encoders
        calls = {Modality.VISUAL: self._encode_frames((encoders, clip.frames))}
        if clip.windows is not None:
            calls[Modality.AUDIO] = self._encode_windows((encoders, clip.windows))
        if text:
            calls[Modality.TEXT] = self._encode_text((encoders, text))
        return dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))

    async def _weighted_text(self, release: LoadedRelease, video: CatalogVideo, weights: TextWeights) -> QueryVectors:
        """Return the vector of what is written about a video [1, D], as extraction with weights gives it."""
        if not (parts := parts_of(written_fields(video), weights)):
            return {Modality.TEXT: np.empty((0, release.key.dims[Modality.TEXT]), np.float32)}
        found = await asyncio.gather(*(self._encode_text((release.encoders, text)) for _, text in parts))
        return {Modality.TEXT: means_of(np.concatenate(found), [parts])}

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def _encode_frames(self, clips: list[tuple[EncoderSet, Array]]) -> list[Array]:
        return await self._run("visual", clips, lambda own, frames: _clips(own.encoders.visual, frames))

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def _encode_windows(self, clips: list[tuple[EncoderSet, Array]]) -> list[Array]:
        return await self._run("audio", clips, lambda own, windows: _clips(own.encoders.audio, windows))

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def _encode_text(self, texts: list[tuple[EncoderSet, str]]) -> list[Array]:
        return await self._run("text", texts, lambda own, of: list(own.encoders.text.encode(of)[:, None]))

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def _encode_words(self, texts: list[tuple[EncoderSet, str]]) -> list[QueryVectors]:
        return await self._run("text", texts, lambda own, of: own.words.encode(of))

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def _run_tower(self, queries: list[tuple[Embedder, QueryVectors]]) -> list[Embedding]:
        return await self._run("tower", queries, embed_queries)

    async def _run(self, name: str, items: Sequence[Any], run: Callable[[Any, list[Any]], Iterable[Any]]) -> list[Any]:
        self.metrics.batch(name, len(items))
        with self.metrics.stage(name):
            return await asyncio.to_thread(run_each, items, run)

    async def _release(self, version: int) -> LoadedRelease:
        if version not in self._releases:
            async with self._loading:
                if version not in self._releases:
                    self._releases[version] = await asyncio.to_thread(self._load, version)
        self._releases.move_to_end(version)
        while len(self._releases) > RELEASES + self.settings.serve.beside_releases:
            self._releases.popitem(last=False)
        return self._releases[version]

    def _load(self, version: int) -> LoadedRelease:
        registered = registry.resolve(str(version))
        encoders = self._encoders(registered)
        return LoadedRelease(encoders, registry.load(registered).to(self.device))

    def _load_reranker(self) -> CrossEncoder:
        settings = self.settings
        assert settings.recommend.reranker is not None, "requests were checked"
        try:
            return load_cross_encoder(
                settings.recommend.reranker, settings.encoders.weights_dir, settings.weights_cache, self.device
            )
        except RayreelError as error:
            log.exception("the reranker cannot be loaded")
            raise Unavailable("The reranker cannot be loaded here; the service's log says why. Omit rerank.") from error

    def _encoders(self, version: Version) -> EncoderSet:
        """Return the encoders of a version's features, those that are loaded if they are the same."""
        key = version.encoder_key
        if key not in self._sets:
            try:
                own = self.settings.of_release(version)
                log.info("loading the encoders %s", key)
                self._sets[key] = EncoderSet.load(own)
            except RayreelError as error:
                log.exception("the encoders of release %d cannot be loaded", version.number)
                raise WrongEncoders(
                    f"The encoders of release {version.number} cannot be loaded here; the service's log says why. "
                    "Queries by id are answered."
                ) from error
        in_use = {id(release.encoders) for release in self._releases.values()}
        self._sets = {k: own for k, own in self._sets.items() if k == key or id(own) in in_use}
        return self._sets[key]

    def _start(self) -> None:
        """Load the serving release or, before the first, the encoders of the settings."""
        try:
            champion = registry.find(registry.CHAMPION)
            if champion is None:
                own = EncoderSet.load(self.settings)
                self._sets[str(own.key)] = own
                return
            release = self._releases[champion.number] = self._load(champion.number)
            embed_queries(release.tower, [{Modality.TEXT: np.ones((1, release.tower.dims[Modality.TEXT]), np.float32)}])
        except RayreelError as error:  # no registry, or encoders that cannot be had: /readyz reports it
            log.warning("no release could be loaded yet: %s", error)


def _clips(encoder: Any, clips: list[Array]) -> list[Array]:  # noqa: ANN401 - of frames or of sound
    vectors = encoder.encode(np.concatenate(clips))
    return np.split(vectors, np.cumsum([len(clip) // getattr(encoder, "window", 1) for clip in clips])[:-1])
