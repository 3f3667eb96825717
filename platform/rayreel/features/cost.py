"""What encoding costs on this machine, measured while features are extracted for a comparison."""

import json
from dataclasses import asdict, dataclass

from rayreel.storage import Storage


@dataclass(frozen=True, slots=True)
class EncodingCost:
    """Seconds that encoding took for a number of videos: of all CPU cores together, or of the GPU."""

    videos: int = 0
    seconds: float = 0.0

    @property
    def ms_per_video(self) -> float:
        """Milliseconds per video; 0 before the first."""
        return 1000 * self.seconds / self.videos if self.videos else 0.0


def read_cost(storage: Storage, key: str, device: str) -> EncodingCost:
    """Return what was measured for an encoder key on this kind of device."""
    found = _read(storage, key).get(device, {})
    return EncodingCost(int(found.get("videos", 0)), found.get("seconds", 0.0))


def add_cost(storage: Storage, key: str, device: str, cost: EncodingCost) -> None:
    """Add a measurement."""
    before = read_cost(storage, key, device)
    total = EncodingCost(before.videos + cost.videos, before.seconds + cost.seconds)
    content = _read(storage, key) | {device: asdict(total)}
    storage.write(_path(storage, key), json.dumps(content, indent=2).encode())


def _read(storage: Storage, key: str) -> dict[str, dict[str, float]]:
    return storage.read_json(_path(storage, key)) or {}


def _path(storage: Storage, key: str) -> str:
    return storage.path("costs", f"{key}.json")
