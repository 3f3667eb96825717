"""The encode deployment: frozen encoders, and the towers of recent releases."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ray import serve

from rayreel.catalog.video import CatalogVideo
from rayreel.compat.ray_serve import most_calls
from rayreel.encoders.compute import device_named
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoders, load_word_encoders
from rayreel.errors import RayreelError
from rayreel.failures import Reason, Rejected
from rayreel.features.key import EncoderKey
from rayreel.media.clip import Clip
from rayreel.media.config import AUDIO_RATE_HZ
from rayreel.recommendation.query import mean_of, weighted_query
from rayreel.release import registry
from rayreel.release.embed import embed_table
from rayreel.settings import Settings
from rayreel.tower.embed import EmptyQuery, QueryVectors, embed_queries
from rayreel.tower.embedder import Embedder
from rayreel.training.tracking import use_tracking
from serve_apps.content import Content
from serve_apps.decoders import Decoders
from serve_apps.feature_row import feature_row
from serve_apps.observe import Metrics, log_with_serve
from serve_apps.problems import Unavailable

log = logging.getLogger(__name__)

Array = NDArray[Any]
Embedding = NDArray[np.float32]

# During a switch of releases, some requests still need the previous tower.
TOWERS = 2
MAX_BATCH = 32


class WrongEncoders(Unavailable):
    """The release was made with other encoders than those of this service."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded video, ready to be written: its rows for the feature store and for the requested release."""

    features: pa.Table
    release_rows: pa.Table


@serve.deployment(name="encode")
class Encode:
    """Embeds queries and new videos with the tower of the requested release.

    Each network batches inputs across requests: those that arrive during a batch form the next one. By default nothing
    waits for a batch to fill; see `reconfigure`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.metrics = settings, Metrics()
        log_with_serve()
        use_tracking(settings.place)
        self.encoders = load_encoders(settings.encoders, settings.weights_cache)
        self.words = load_word_encoders(settings.encoders, settings.weights_cache, self.encoders.text)
        self.device = device_named(settings.encoders.device)
        self.key = EncoderKey.of(self.encoders, settings.sampling)
        self._towers: OrderedDict[int, Embedder] = OrderedDict()
        self._loading = asyncio.Lock()
        self._decoders = Decoders(settings, self.key.frame_size, self.metrics, most_calls())
        self._warm_up()

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
        """Return the device and the encoders of this replica. Loads the version's tower; raises if that fails."""
        await self._tower(version)
        return {"device": str(self.device), **{m.value: name for m, name in self.encoders.identities.items()}}

    async def texts(self, texts: Sequence[str], version: int) -> Embedding:
        """Return the embeddings [len(texts), dim] of queries by text."""
        return np.stack(await asyncio.gather(*(self._text(text, version) for text in texts)))

    async def words_in(self, text: str, modality: Modality) -> Embedding:
        """Return a query by text in an encoder's own space, [D]. Raises BadQuery if that has no text side."""
        return mean_of(await self._encode_words(text), modality)

    async def video_in(self, content: Content, title: str, space: Modality, seconds: float) -> Embedding | Rejected:
        """Return a video file in an encoder's own space, [D], or why it cannot be used. Raises BadQuery if absent."""
        clip = await self._decoders.decode(content, seconds)
        return clip if isinstance(clip, Rejected) else mean_of(await self._vectors(clip, title), space)

    async def video(
        self, content: Content, title: str, version: int, weights: Mapping[Modality, float] | None, seconds: float
    ) -> Embedding | Rejected:
        """Embed a video file within `seconds`, or return why it cannot be used.

        With `weights`, the embedding is mixed from the single-modality embeddings of the file. Raises BadQuery if they
        leave nothing of it.
        """
        clip = await self._decoders.decode(content, seconds)
        if isinstance(clip, Rejected):
            return clip
        vectors = await self._vectors(clip, title)
        if weights is None:
            return await self._embedding(vectors, version)
        return weighted_query(await self._parts(vectors, version), weights)

    async def new_video(
        self, source: Content | str, video: CatalogVideo, version: int, seconds: float
    ) -> Encoded | Rejected:
        """Encode a video to add, from its content or URI. Rejected if it has no modality that the tower reads."""
        clip = await self._decoders.decode(source, seconds)
        if isinstance(clip, Rejected):
            return clip
        features = feature_row(video, clip, await self._vectors(clip, video.text()), self.key)
        rows = await asyncio.to_thread(embed_table, await self._tower(version), features)
        if not rows.num_rows:
            return Rejected(Reason.NO_FRAMES, "The video has no modality that the release's tower reads.")
        return Encoded(features, rows)

    async def embed_again(self, features: pa.Table, version: int) -> pa.Table:
        """Return the rows of another release for a video that is encoded already."""
        return await asyncio.to_thread(embed_table, await self._tower(version), features)

    async def _text(self, text: str, version: int) -> Embedding:
        words, tower = await self._encode_words(text), await self._tower(version)
        return await self._embedding(tower.centred(words), version)

    async def _embedding(self, vectors: QueryVectors, version: int) -> Embedding:
        embedding_D: Embedding = await self._run_tower((await self._tower(version), vectors))
        if not embedding_D.any():
            raise EmptyQuery(
                "The release's tower reads no modality of this query. Query by another one, such as text or video."
            )
        return embedding_D

    async def _parts(self, vectors: QueryVectors, version: int) -> dict[Modality, Embedding]:
        """Return the embedding [dim] of each modality alone, of those that the tower reads."""
        tower = await self._tower(version)
        parts = await asyncio.gather(*(self._run_tower((tower, {m: vectors[m]})) for m in vectors))
        return {modality: part_D for modality, part_D in zip(vectors, parts, strict=True) if part_D.any()}

    async def _vectors(self, clip: Clip, text: str) -> QueryVectors:
        calls = {Modality.VISUAL: self._encode_frames(clip.frames)}
        if clip.windows is not None:
            calls[Modality.AUDIO] = self._encode_windows(clip.windows)
        if text:
            calls[Modality.TEXT] = self._encode_text(text)
        return dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def _encode_frames(self, clips: list[Array]) -> list[Array]:
        return await self._encode_clips("visual", self.encoders.visual, clips, self.encoders.visual.window)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def _encode_windows(self, clips: list[Array]) -> list[Array]:
        return await self._encode_clips("audio", self.encoders.audio, clips)

    async def _encode_clips(self, name: str, encoder: Any, clips: list[Array], window: int = 1) -> list[Array]:  # noqa: ANN401
        self.metrics.batch(name, len(clips))
        with self.metrics.stage(name):
            vectors = await asyncio.to_thread(encoder.encode, np.concatenate(clips))
        return np.split(vectors, np.cumsum([len(clip) // window for clip in clips])[:-1])

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def _encode_text(self, texts: list[str]) -> list[Array]:
        self.metrics.batch("text", len(texts))
        with self.metrics.stage("text"):
            vectors = await asyncio.to_thread(self.encoders.text.encode, texts)
        return list(vectors[:, None])

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def _encode_words(self, texts: list[str]) -> list[QueryVectors]:
        self.metrics.batch("text", len(texts))
        with self.metrics.stage("text"):
            return await asyncio.to_thread(self.words.encode, texts)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def _run_tower(self, queries: list[tuple[Embedder, QueryVectors]]) -> list[Embedding]:
        self.metrics.batch("tower", len(queries))
        with self.metrics.stage("tower"):
            return await asyncio.to_thread(_embed_each, queries)

    async def _tower(self, version: int) -> Embedder:
        if version not in self._towers:
            async with self._loading:
                if version not in self._towers:
                    self._towers[version] = await asyncio.to_thread(self._load, version)
        self._towers.move_to_end(version)
        while len(self._towers) > TOWERS:
            self._towers.popitem(last=False)
        return self._towers[version]

    def _load(self, version: int) -> Embedder:
        registered = registry.resolve(str(version))
        if registered.encoder_key != str(self.key):
            log.error("release %d was made with %s, not with %s", version, registered.encoder_key, self.key)
            raise WrongEncoders(
                f"Release {version} was made with other encoders than those of this service. Deploy the service with "
                "the settings (encoders.*, sampling.*) that the release's features were extracted with."
            )
        return registry.load(registered).to(self.device)

    def _warm_up(self) -> None:
        """Run every network once, because the first run takes many times longer than the others."""
        size, sampling = self.key.frame_size, self.settings.sampling
        self.encoders.visual.encode(np.zeros((self.encoders.visual.window, size, size, 3), np.uint8))
        self.encoders.audio.encode(np.zeros((1, round(sampling.audio_window_s * AUDIO_RATE_HZ)), np.float32))
        self.encoders.text.encode(["warm up"])
        self.words.encode(["warm up"])
        try:
            champion = registry.find(registry.CHAMPION)
            if champion is not None:
                tower = self._towers[champion.number] = self._load(champion.number)
                _embed_each([(tower, {Modality.TEXT: np.ones((1, tower.dims[Modality.TEXT]), np.float32)})])
        except RayreelError as error:  # no registry, or the release needs other encoders: /readyz reports it
            log.warning("no tower could be loaded yet: %s", error)


def _embed_each(queries: Sequence[tuple[Embedder, QueryVectors]]) -> list[Embedding]:
    """Embed each query with its own tower, and those with the same tower as one batch."""
    found: list[Embedding | None] = [None] * len(queries)
    for tower in {id(tower): tower for tower, _ in queries}.values():
        places = [place for place, (own, _) in enumerate(queries) if own is tower]
        for place, embedding_D in zip(places, embed_queries(tower, [queries[p][1] for p in places]), strict=True):
            found[place] = embedding_D
    return [embedding_D for embedding_D in found if embedding_D is not None]
