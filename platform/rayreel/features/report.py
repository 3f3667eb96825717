"""Reports of finished blocks, and the throughput of a running pipeline."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

EXTRACTED = "extracted"
# The fields of a BlockReport.
REPORT = pa.schema(
    [
        ("outcomes", pa.map_(pa.string(), pa.int64())),
        ("frames", pa.int64()),
        *((name, pa.float64()) for name in ("decode_s", "decoded_at", "waited_s", "encode_s")),
        ("storage_full", pa.string()),
    ]
)


class BlockReport(BaseModel):
    """One finished block. Seconds are wall time of its decode task, of its encode call, and of the wait between.

    `decoded_at` is when its decoding ended, in seconds since 1970. `storage_full` is the error if its rows could not be
    written, else empty.
    """

    model_config = ConfigDict(frozen=True)

    outcomes: dict[str, int]
    frames: int
    decode_s: float
    decoded_at: float
    waited_s: float
    encode_s: float
    storage_full: str = ""

    @property
    def videos(self) -> int:
        """Number of videos in the block, including failed ones."""
        return sum(self.outcomes.values())


@dataclass
class Throughput:
    """The throughput of a run, updated block by block.

    The clock starts with the first finished block, to exclude start-up. Decoders start earlier than encoders; videos
    decoded before the clock started do not count as decoded, as they would inflate the rates.
    """

    clock: Callable[[], float] = time
    videos: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    decoded: int = 0
    encoded: int = 0
    _frames: int = 0
    _first: float | None = None
    _last: float = 0.0
    _waited: float = 0.0
    _encoding: float = 0.0

    def add(self, block: BlockReport) -> None:
        """Add a finished block."""
        self._last = self.clock()
        self.videos += block.videos
        self.outcomes.update(block.outcomes)
        if self._first is None:
            self._first = self._last
            return
        self.encoded += block.videos
        self._waited += min(block.waited_s, self.seconds) * block.videos
        self._encoding += block.encode_s * block.videos
        if block.decoded_at > self._first:
            self.decoded += block.videos
            self._frames += block.frames

    @property
    def seconds(self) -> float:
        """Time from the first finished block to the last."""
        return self._last - self._first if self._first is not None else 0.0

    @property
    def videos_per_s(self) -> float:
        """Videos per second decoded and encoded since the clock started."""
        return min(self.decoded, self.encoded) / self.seconds if self.seconds else 0.0

    @property
    def frames_per_s(self) -> float:
        """Frames per second decoded since the clock started."""
        return self._frames / self.seconds if self.seconds else 0.0

    @property
    def queue(self) -> float:
        """Mean number of decoded videos waiting for an encoder: arrival rate times waiting time (Little 1961)."""
        return self._waited / self.seconds if self.seconds else 0.0

    @property
    def limit(self) -> str:
        """The bottleneck: "encode" if blocks wait longer for an encoder than they take to encode, else "decode"."""
        return "encode" if self._waited > self._encoding else "decode"
