"""The first stage of extraction: decode videos to frames and audio. Runs in CPU tasks and imports no model."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from rayreel.failures import Rejected
from rayreel.features.rows import decoded_rows, timed
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_samples
from rayreel.media.isolated import IsolatedDecoder, process_decoder
from rayreel.media.nvdec import decode_with_nvdec, nvidia_gpus
from rayreel.media.pictures import Pictures
from rayreel.media.sandbox.serve import Decode

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DecodeVideos:
    """Decodes the videos of catalog rows to frames and audio, or to the reason for a failure.

    `pictures` keeps pictures of them, if given. With `nvdec`, GPUs decode costly videos, outside the sandbox.
    """

    sampling: SamplingConfig
    limits: Limits
    frame_size: int
    decode_with: Decode = decode_samples
    pictures: Pictures | None = None
    nvdec: bool = False

    def __call__(self, block: pa.Table) -> pa.Table:
        """Add the columns of DECODED, `decode_s`, `decoded_at` and `decode_cost_s` to catalog rows.

        Without a `uri` the columns of DECODED stay null.
        """
        started, own_s = time.time(), time.thread_time()
        clips, cost_s = self.clips(block["uri"].to_pylist())
        if self.pictures is not None:
            self.pictures.keep([clip for clip in clips if isinstance(clip, Clip)], self.sampling.window)
        rows = decoded_rows(block, clips)
        return decoding_timed(rows, started, cost_s + time.thread_time() - own_s)

    def clips(self, uris: Sequence[str | None]) -> tuple[list[Clip | Rejected | None], float]:
        """Decode videos; return them, None without an address, and the core seconds of their decoder."""
        decoder = self.decoder()
        clips, costs = list[Clip | Rejected | None](), list[float]()
        for uri in uris:
            before_s = decoder.cpu_s
            clips.append(self.decode(decoder, uri) if uri else None)
            if before_s and uri:  # the decoder ran before: its start is no cost of a video
                costs.append(max(0.0, decoder.cpu_s - before_s))
        mean_s = sum(costs) / len(costs) if costs else 0.0
        return clips, mean_s * sum(clip is not None for clip in clips)

    def decoder(self) -> IsolatedDecoder:
        """Return the decoder of this process."""
        limits = self.limits.max_memory_bytes, self.limits.allowed_roots
        if self.nvdec and has_gpu():
            return process_decoder(*limits, decode_with_nvdec, confined=False)
        return process_decoder(*limits, self.decode_with)

    def decode(self, decoder: IsolatedDecoder, uri: str) -> Clip | Rejected:
        """Decode one video with this decoder."""
        return decoder.decode(uri, self.sampling, self.frame_size, self.limits)


@cache
def has_gpu() -> bool:
    """Whether this node has an NVIDIA GPU; logs a warning if not, once per process."""
    if not nvidia_gpus():
        log.warning("extract.nvdec is set, but this node has no NVIDIA GPU: it decodes on CPUs, in the sandbox.")
    return bool(nvidia_gpus())


def decoding_timed(rows: pa.Table, started: float, cost_s: float) -> pa.Table:
    """Return decoded rows with the times of their decoding, which ends now."""
    now = time.time()
    return timed(rows, decode_s=now - started, decoded_at=now, decode_cost_s=cost_s)
