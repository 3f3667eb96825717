"""What a block of videos went through, and what that says of the pipeline while it runs."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from pydantic import BaseModel, ConfigDict

EXTRACTED = "extracted"


class BlockReport(BaseModel):
    """One finished block. Seconds are wall time: of its decode task, of its encode call, and of the wait between."""

    model_config = ConfigDict(frozen=True)

    outcomes: dict[str, int]
    frames: int
    decode_s: float
    waited_s: float
    encode_s: float

    @property
    def videos(self) -> int:
        """Videos of the block, whatever became of them."""
        return sum(self.outcomes.values())


@dataclass
class Throughput:
    """How fast a run goes, told block by block. The first block only starts the clock: it paid for starting up."""

    clock: Callable[[], float] = monotonic
    videos: int = 0
    frames: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    _first: float | None = None
    _last: float = 0.0
    _skipped: tuple[int, int] = (0, 0)
    _waited: float = 0.0
    _encoded: float = 0.0

    def add(self, block: BlockReport) -> None:
        """Take in a finished block."""
        self._last = self.clock()
        self.videos += block.videos
        self.frames += block.frames
        self.outcomes.update(block.outcomes)
        if self._first is None:
            self._first, self._skipped = self._last, (self.videos, self.frames)
            return
        self._waited += block.waited_s * block.videos
        self._encoded += block.encode_s * block.videos

    @property
    def seconds(self) -> float:
        """Time from the first finished block to the last."""
        return self._last - self._first if self._first is not None else 0.0

    @property
    def videos_per_s(self) -> float:
        """Videos per second in steady state; 0 before two blocks are done."""
        return (self.videos - self._skipped[0]) / self.seconds if self.seconds else 0.0

    @property
    def frames_per_s(self) -> float:
        """Frames per second in steady state."""
        return (self.frames - self._skipped[1]) / self.seconds if self.seconds else 0.0

    @property
    def queue(self) -> float:
        """Mean number of decoded videos waiting for an encoder: arrival rate times waiting time (Little 1961)."""
        return self._waited / self.seconds if self.seconds else 0.0

    @property
    def limit(self) -> str:
        """The stage that the other waits for: decode, when a block finds the encoder idle, else encode."""
        return "encode" if self._waited > self._encoded else "decode"
