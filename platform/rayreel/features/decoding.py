"""The first stage of extraction: decode videos to frames and audio. Runs in CPU tasks and imports no model."""

import time
from dataclasses import dataclass

import pyarrow as pa

from rayreel.failures import Rejected
from rayreel.features.rows import decoded_rows, timed
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_samples
from rayreel.media.isolated import IsolatedDecoder, process_decoder
from rayreel.media.sandbox.serve import Decode


@dataclass(frozen=True, slots=True)
class DecodeVideos:
    """Decodes the videos of catalog rows to frames and audio, or to the reason for a failure."""

    sampling: SamplingConfig
    limits: Limits
    frame_size: int
    decode_with: Decode = decode_samples

    def __call__(self, block: pa.Table) -> pa.Table:
        """Add the columns of DECODED, `decode_s` and `decoded_at` to catalog rows; without a `uri` they stay null."""
        started = time.time()
        decoder = process_decoder(self.limits.max_memory_bytes, self.limits.allowed_roots, self.decode_with)
        uris = block["uri"].to_pylist()
        rows = decoded_rows(block, [self.decode(decoder, uri) if uri else None for uri in uris])
        now = time.time()
        return timed(rows, decode_s=now - started, decoded_at=now)

    def decode(self, decoder: IsolatedDecoder, uri: str) -> Clip | Rejected:
        """Decode one video with this decoder."""
        return decoder.decode(uri, self.sampling, self.frame_size, self.limits)
