"""Store of decoded clips below the storage root: decoded once, memory-mapped by all workers and later runs."""

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.features.rows import frames_of
from rayreel.storage import Storage
from rayreel.training.action.config import ActionConfig

CLIPS = pa.schema(
    [
        ("video_id", pa.string()),
        ("version", pa.string()),
        ("content_hash", pa.string()),
        ("windows", pa.int32()),
        ("frames", pa.large_binary()),  # uint8 RGB [windows, frames, size, size, 3]
    ]
)
Clip = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ClipStore:
    """Arrow files of clips with one sampling configuration; each configuration has its own folder."""

    root: str
    config: ActionConfig

    @property
    def folder(self) -> str:
        """Path of the folder in the root's file system."""
        sampling = json.dumps(self.config.sampling.facts(), separators=(",", ":"))
        key = sampling + self.config.network.model_dump_json(exclude={"channels"})
        return Storage(self.root).path("clips", hashlib.sha256(key.encode()).hexdigest()[:12])

    def add(self, decoded: pa.Table) -> None:
        """Add the successful DECODED rows, every `stride`-th frame of each window, as one file, written atomically."""
        good = decoded.filter(pc.is_null(decoded["reason"]))
        if good.num_rows:
            storage = Storage(self.root)
            storage.write(f"{self.folder}/part-{uuid.uuid4().hex}.arrow", _ipc(self._subsample(good)))

    def read(self) -> pa.Table:
        """Return all clips, with duplicates if Ray retried a block. Local files are memory-mapped and use no memory."""
        storage = Storage(self.root)
        tables = [_open(storage, path) for path in storage.files(self.folder, ".arrow")]
        return pa.concat_tables(tables) if tables else CLIPS.empty_table()

    def done(self) -> set[tuple[str, str]]:
        """Return (video_id, version) of every stored clip."""
        rows = self.read().select(["video_id", "version"])
        return set(zip(rows["video_id"].to_pylist(), rows["version"].to_pylist(), strict=True))

    def arrays(self, column: pa.ChunkedArray) -> Iterator[Clip]:
        """Yield every cell of a `frames` column as [windows, frames, size, size, 3], without copying."""
        network = self.config.network
        for chunk in column.chunks:
            for cell in chunk:
                pixels = np.frombuffer(cell.as_buffer(), np.uint8)
                yield pixels.reshape(-1, network.frames, network.size, network.size, 3)

    def _subsample(self, good: pa.Table) -> pa.Table:
        network = self.config.network
        frames = frames_of(good, network.size).reshape(-1, network.window, network.size, network.size, 3)
        taken = np.ascontiguousarray(frames[:, :: network.stride])
        counts = [count // network.window for count in good["n_frames"].to_pylist()]
        ends = np.cumsum([0, *counts])
        cells = [taken[start:end].tobytes() for start, end in pairwise(ends)]
        return pa.table(
            {
                "video_id": good["video_id"],
                "version": good["version"],
                "content_hash": good["content_hash"],
                "windows": counts,
                "frames": cells,
            },
            schema=CLIPS,
        )


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, CLIPS) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _open(storage: Storage, path: str) -> pa.Table:
    if storage.is_local:
        return pa.ipc.open_file(pa.memory_map(path)).read_all()
    return pa.ipc.open_file(pa.py_buffer(storage.read(path))).read_all()
