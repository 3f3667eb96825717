"""Synthetic films whose classes differ only in motion, not in single frames."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

KINDS = ("across", "down", "still")


def moving_frames(kind: str, seed: int, frames: int, size: int) -> Iterator[np.ndarray]:
    """Yield frames of a random pattern that moves horizontally, vertically or not at all, at a random speed."""
    random = np.random.default_rng([seed, KINDS.index(kind)])
    coarse = random.integers(40, 216, (8, 8, 3), dtype=np.uint8)
    pattern = coarse.repeat(size // 8, axis=0).repeat(size // 8, axis=1)
    pattern = np.roll(pattern, random.integers(0, size, 2), axis=(0, 1))
    step = int(random.choice([-1, 1])) * int(random.integers(1, 3)) * size // 48
    for number in range(frames):
        axis = 0 if kind == "down" else 1
        yield np.roll(pattern, 0 if kind == "still" else step * number, axis=axis)


def write_moving(path: Path, kind: str, seed: int, *, frames: int = 24, size: int = 48) -> Path:
    """Encode a film of moving frames, without sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as out:
        video = out.add_stream("libx264", rate=24, options={"crf": "12", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = size, size, "yuv420p"
        for picture in moving_frames(kind, seed, frames, size):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        out.mux(video.encode(None))
    return path


def write_moving_films(folder: Path, groups: int, each: int) -> Path:
    """Write `groups` recordings of `each` clips per class, in class folders, named as in UCF101."""
    for kind in KINDS:
        for group in range(1, groups + 1):
            for piece in range(1, each + 1):
                name = f"v_{kind.title()}_g{group:02d}_c{piece:02d}.mp4"
                write_moving(folder / kind / name, kind, seed=100 * group + piece)
    return folder
