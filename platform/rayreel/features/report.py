"""Reports of finished blocks, and the throughput of a running pipeline."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

EXTRACTED = "extracted"
TIMES = ("decode_s", "decoded_at", "decode_cost_s", "waited_s", "encode_s", "encode_cost_s")
SPEECH_TIMES = ("speech_waited_s", "transcribe_s", "transcribe_cost_s")
# The fields of a BlockReport.
REPORT = pa.schema(
    [
        ("outcomes", pa.map_(pa.string(), pa.int64())),
        ("frames", pa.int64()),
        *((name, pa.float64()) for name in (*TIMES, *SPEECH_TIMES, "sound_s")),
        ("storage_full", pa.string()),
    ]
)


class BlockReport(BaseModel):
    """One finished block. Seconds are wall time of its decode task, of its encode call, and of the wait between.

    `decoded_at` is when its decoding ended, in seconds since 1970. The costs are seconds of one core or, of encoding on
    a GPU, of that GPU at its best. `storage_full` is the error if its rows could not be written, else empty.
    The times of speech recognition are 0 without it, as are `sound_s`, the seconds of sound that it received. Its cost
    on a GPU is the time that it took.
    """

    model_config = ConfigDict(frozen=True)

    outcomes: dict[str, int]
    frames: int
    decode_s: float
    decoded_at: float
    waited_s: float
    encode_s: float
    decode_cost_s: float = 0.0
    encode_cost_s: float = 0.0
    speech_waited_s: float = 0.0
    transcribe_s: float = 0.0
    transcribe_cost_s: float = 0.0
    sound_s: float = 0.0
    storage_full: str = ""

    @property
    def videos(self) -> int:
        """Number of videos in the block, including failed ones."""
        return sum(self.outcomes.values())


@dataclass
class Throughput:
    """The throughput of a run on these cores and GPUs of encoding and of speech, updated block by block.

    The clock starts with the first finished block, to exclude start-up. Of a block that was in work at that moment, the
    share after it counts: decoders start earlier than encoders, and their lead would inflate the rates. Costs are
    those of all `costed` videos, of all blocks but the first: decoders may be done before that one is finished.
    """

    cores: int = 1
    gpus: float = 0.0
    speech_gpus: float = 0.0
    clock: Callable[[], float] = time
    videos: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    decoded: float = 0.0
    encoded: float = 0.0
    transcribed: float = 0.0
    decode_cost_s: float = 0.0
    encode_cost_s: float = 0.0
    transcribe_cost_s: float = 0.0
    sound_s: float = 0.0
    costed: int = 0
    frames: int = 0
    spoken: int = 0
    _first: float | None = None
    _last: float = 0.0
    _decoded_until: float = 0.0
    _waited: float = 0.0

    def add(self, block: BlockReport) -> None:
        """Add a finished block."""
        self._last = self.clock()
        self.videos += block.videos
        self.outcomes.update(block.outcomes)
        if self._first is None:
            self._first = self._last
            return
        self._add_costs(block)
        waited_s = block.speech_waited_s + block.waited_s
        self._waited += min(waited_s, self.seconds) * block.videos
        self.decoded += self._share(block.decoded_at, block.decode_s) * block.videos
        transcribed_at = block.decoded_at + block.speech_waited_s + block.transcribe_s
        if block.transcribe_s:
            self.transcribed += self._share(transcribed_at, block.transcribe_s) * block.videos
        encoded_at = transcribed_at + block.waited_s + block.encode_s
        self.encoded += self._share(encoded_at, block.encode_s) * block.videos

    def _add_costs(self, block: BlockReport) -> None:
        self.costed += block.videos
        self.frames += block.frames
        self.decode_cost_s += block.decode_cost_s
        self.encode_cost_s += block.encode_cost_s
        self.transcribe_cost_s += block.transcribe_cost_s
        self.sound_s += block.sound_s
        self.spoken += block.videos if block.transcribe_s else 0
        self._decoded_until = max(self._decoded_until, block.decoded_at)

    def _share(self, end: float, seconds: float) -> float:
        """The share of some work that was done since the clock started."""
        since = end - (self._first or 0.0)
        return min(1.0, max(0.0, since / seconds)) if seconds else float(since > 0)

    @property
    def seconds(self) -> float:
        """Time from the first finished block to the last."""
        return self._last - self._first if self._first is not None else 0.0

    @property
    def videos_per_s(self) -> float:
        """Videos per second since the clock started: of encoding or, if that is slower, of decoding while it lasted."""
        if not self.seconds:
            return 0.0
        decoding_s = min(self._decoded_until - (self._first or 0.0), self.seconds)
        decode_rate = self.decoded / decoding_s if decoding_s > 0 else math.inf
        return min(decode_rate, self.encoded / self.seconds)

    @property
    def frames_per_s(self) -> float:
        """Frames per second, by the mean number of frames of a video."""
        return self.videos_per_s * self.frames / self.costed if self.costed else 0.0

    @property
    def queue(self) -> float:
        """Mean number of decoded videos that wait for a next stage: arrival rate times waiting time (Little 1961)."""
        return self._waited / self.seconds if self.seconds else 0.0
