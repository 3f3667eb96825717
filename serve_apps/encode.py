"""The encode deployment: frozen encoders and the tower of the release that asks."""

import asyncio
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ray import serve

from rayreel.encoders.device import device_named
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoders
from rayreel.failures import Rejected
from rayreel.features.key import key_name
from rayreel.media.clip import Clip
from rayreel.media.isolated import IsolatedDecoder
from rayreel.release import registry
from rayreel.release.promote import Refused
from rayreel.settings import Settings
from rayreel.tower.embed import embed_query
from rayreel.tower.tower import VideoTower
from rayreel.training.tracking import use_tracking

Embedding = NDArray[np.float32]


@serve.deployment(name="encode")
class Encode:
    """Embeds queries. The tower is always the one the asked release was indexed with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        use_tracking(settings.place)
        self.encoders = load_encoders(settings.encoders, settings.weights_cache)
        self.device = device_named(settings.encoders.device)
        self.decoder = IsolatedDecoder(settings.limits.max_memory_bytes)
        # Two towers: while a release is switched, some requests still ask for the one before.
        self.tower = lru_cache(maxsize=2)(self._load)

    async def describe(self, version: int) -> dict[str, str]:
        """What this replica computes on and with; loads the version's tower, and raises where that is impossible."""
        await asyncio.to_thread(self.tower, version)
        return {"device": str(self.device), **{m.value: name for m, name in self.encoders.identities.items()}}

    async def text(self, text: str, version: int) -> Embedding:
        """The embedding of a query in words."""
        return await asyncio.to_thread(self._text, text, version)

    async def video(self, content: bytes, title: str, version: int) -> Embedding | Rejected:
        """The embedding of a video file, or why it cannot be used."""
        return await asyncio.to_thread(self._video, content, title, version)

    def _text(self, text: str, version: int) -> Embedding:
        return embed_query(self.tower(version), {Modality.TEXT: self.encoders.text.encode([text])})

    def _video(self, content: bytes, title: str, version: int) -> Embedding | Rejected:
        clip = self._decode(content)
        if isinstance(clip, Rejected):
            return clip
        vectors = {Modality.VISUAL: self.encoders.visual.encode(clip.frames)}
        if clip.windows is not None:
            vectors[Modality.AUDIO] = self.encoders.audio.encode(clip.windows)
        if title:
            vectors[Modality.TEXT] = self.encoders.text.encode([title])
        return embed_query(self.tower(version), vectors)

    def _decode(self, content: bytes) -> Clip | Rejected:
        with tempfile.NamedTemporaryFile(prefix="rayreel-upload-") as file:
            path = Path(file.name)
            path.write_bytes(content)
            return self.decoder.decode(
                str(path), self.settings.sampling, self.encoders.visual.frame_size, self.settings.limits
            )

    def _load(self, version: int) -> VideoTower:
        registered = registry.resolve(str(version))
        own = key_name(self.encoders.identities, self.settings.sampling)
        if registered.encoder_key != own:
            raise Refused(
                f"Release {version} was made with {registered.encoder_key}; this service encodes with {own}. "
                "Deploy with the settings (encoders.*, sampling.*) that its features were extracted with."
            )
        return registry.load(registered).to(self.device)
