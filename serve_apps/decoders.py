"""The decoders of one replica: processes of their own, each busy with one video."""

import asyncio
import logging
import os
import tempfile
from pathlib import Path

from rayreel.failures import Rejected
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.fetch import refuse_foreign
from rayreel.media.isolated import IsolatedDecoder
from serve_apps.observe import Metrics

log = logging.getLogger(__name__)

# More of them only take each other's cores.
DECODERS = max(1, min(4, (os.cpu_count() or 1) // 2))


class Decoders:
    """Decodes videos as extraction does, some at a time; the others wait for their turn."""

    def __init__(self, limits: Limits, sampling: SamplingConfig, frame_size: int, metrics: Metrics) -> None:
        self._limits, self._sampling, self._frame_size, self._metrics = limits, sampling, frame_size, metrics
        self._uploads = tempfile.TemporaryDirectory(prefix="rayreel-uploads-")
        # Uploads pass through a folder of ours, which has to be allowed where folders are named.
        roots = limits.allowed_roots and (*limits.allowed_roots, Path(self._uploads.name))
        self.ongoing = 0
        metrics.watch("decoders", lambda: self.ongoing)
        self._free: asyncio.Queue[IsolatedDecoder] = asyncio.Queue()
        for _ in range(DECODERS):
            self._free.put_nowait(IsolatedDecoder(limits.max_memory_bytes, roots))

    async def decode(self, source: bytes | str, seconds: float) -> Clip | Rejected:
        """A video from its content or its uri, or why it cannot be used; given up after `seconds`."""
        self.ongoing += 1
        try:
            return await self._decoded(await self._free.get(), source, seconds)
        finally:
            self.ongoing -= 1

    async def _decoded(self, decoder: IsolatedDecoder, source: bytes | str, seconds: float) -> Clip | Rejected:
        work = asyncio.create_task(asyncio.to_thread(self._decode, decoder, source, seconds))
        # A call that is cancelled goes on in its thread, but no longer than the request had time.
        work.add_done_callback(lambda _: self._free.put_nowait(decoder))
        with self._metrics.stage("decode"):
            clip = await asyncio.shield(work)
        if isinstance(clip, Rejected):
            self._metrics.decode_failed(clip.reason.value)
            log.info("a video cannot be used: %s, %s", clip.reason, clip.detail)
        return clip

    def _decode(self, decoder: IsolatedDecoder, source: bytes | str, seconds: float) -> Clip | Rejected:
        limits = self._limits.model_copy(update={"timeout_s": min(self._limits.timeout_s, max(seconds, 0.1))})
        if isinstance(source, str):
            return refuse_foreign(source, limits) or decoder.decode(source, self._sampling, self._frame_size, limits)
        with tempfile.NamedTemporaryFile(dir=self._uploads.name) as file:
            path = Path(file.name)
            path.write_bytes(source)
            return decoder.decode(str(path), self._sampling, self._frame_size, limits)
