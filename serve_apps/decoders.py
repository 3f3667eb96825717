"""The decoders of one replica: child processes, each of which decodes one video on this machine's disk at a time."""

import asyncio
import logging
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import IO

from rayreel.failures import Rejected
from rayreel.features.key import EncoderKey
from rayreel.media.clip import Clip
from rayreel.media.fetch import local_copy, refuse_foreign
from rayreel.media.isolated import IsolatedDecoder
from rayreel.settings import Settings
from serve_apps.content import Content
from serve_apps.limits import Blocking
from serve_apps.observe import Metrics

log = logging.getLogger(__name__)


class Decoders:
    """Decodes videos as extraction does, a few at a time; others wait. `most_calls`: that Serve sends to this replica.

    Downloads use little CPU but may take long. They take at most half of the calls, so that slow servers leave the
    other half to uploads and texts.
    """

    def __init__(self, settings: Settings, metrics: Metrics, most_calls: int) -> None:
        self._limits, self._metrics, self.ongoing = settings.limits, metrics, 0
        downloads = max(1, most_calls // 2)
        threads = min(settings.serve.download_threads, downloads)
        self._downloading = Blocking("download", threads, downloads - threads)
        metrics.watch("decoders", lambda: self.ongoing)
        metrics.watch("downloads", lambda: self._downloading.ongoing)
        self._free: asyncio.Queue[IsolatedDecoder] = asyncio.Queue()
        for _ in range(settings.serve.decoding_processes):
            # No allowed folders: their input is an upload, or was checked by `_fetch`.
            self._free.put_nowait(IsolatedDecoder(self._limits.max_memory_bytes))

    async def decode(self, source: Content | str, seconds: float, key: EncoderKey) -> Clip | Rejected:
        """Decode a video from its content or URI within `seconds`, or return why it cannot be used.

        `key`: the sampling and the size of frames for its encoders.

        Downloads occupy no decoder. Raises Busy if too many downloads are waiting.
        """
        until = _now() + seconds
        on_disk = self._downloaded(source, seconds) if isinstance(source, str) else self._written(source)
        self.ongoing += 1
        try:
            async with on_disk as path:
                outcome = path if isinstance(path, Rejected) else await self._decode_next(path, until, key)
        finally:
            self.ongoing -= 1
        if isinstance(outcome, Rejected):
            self._metrics.decode_failed(outcome.reason.value)
            log.info("video rejected: %s: %s", outcome.reason, outcome.detail)
        return outcome

    @asynccontextmanager
    async def _written(self, content: Content) -> AsyncIterator[Path]:
        with tempfile.NamedTemporaryFile(prefix="rayreel-") as file:
            await asyncio.to_thread(_write, file, content)
            yield Path(file.name)

    @asynccontextmanager
    async def _downloaded(self, uri: str, seconds: float) -> AsyncIterator[Path | Rejected]:
        files, left = ExitStack(), threading.Event()
        try:
            with self._metrics.stage("download"):
                path = await self._downloading(self._fetch, uri, seconds, files, left)
            yield path
        finally:
            left.set()
            files.close()

    def _fetch(self, uri: str, seconds: float, files: ExitStack, left: threading.Event) -> Path | Rejected:
        """Download a URI to a local file, which is deleted at once if the request has ended (`left`)."""
        refused = refuse_foreign(uri, self._limits)
        if refused is not None:
            return refused
        path = files.enter_context(local_copy(uri, self._limits, self._limits.allowed_roots, seconds=seconds))
        if left.is_set():
            files.close()
        return path

    async def _decode_next(self, path: Path, until: float, key: EncoderKey) -> Clip | Rejected:
        decoder = await self._free.get()
        work = asyncio.create_task(asyncio.to_thread(self._decode, decoder, path, until - _now(), key))
        # A cancelled call continues in its thread until the deadline of its request, and then returns the decoder.
        work.add_done_callback(lambda _: self._free.put_nowait(decoder))
        with self._metrics.stage("decode"):
            return await asyncio.shield(work)

    def _decode(self, decoder: IsolatedDecoder, path: Path, seconds: float, key: EncoderKey) -> Clip | Rejected:
        limits = self._limits.model_copy(update={"timeout_s": min(self._limits.timeout_s, max(seconds, 0.1))})
        return decoder.decode(str(path), key.sampling, key.frame_size, limits)


def _write(file: IO[bytes], content: Content) -> None:
    file.write(content.data)
    file.flush()


def _now() -> float:
    return asyncio.get_running_loop().time()
