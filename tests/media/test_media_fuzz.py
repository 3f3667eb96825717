"""Hundreds of damaged films: each gives a valid clip or a reason, and every crash of the decoder is reported.

RAYREEL_FUZZ: how many (200). RAYREEL_FUZZ_CLIPS: a folder of films to damage as well; the smallest hundred are taken.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from films import write_film
from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.isolated import IsolatedDecoder

COUNT = int(os.environ.get("RAYREEL_FUZZ", "200"))
BATCH = 100
SUFFIXES = (".mp4", ".mkv", ".avi", ".ts", ".mov", ".flv", ".ogg", ".wmv", ".mpg", ".txt", "")
SAMPLING = SamplingConfig(frames=4)
LIMITS = Limits(timeout_s=3)
SIZE = 32
# Reasons after which the decoder process may have been replaced.
FATAL = (Reason.DECODER_CRASH, Reason.TIMEOUT, Reason.TOO_LARGE)
Mutation = Callable[[bytes, bytes, random.Random], bytes]


def truncated(data: bytes, _other: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def flipped(data: bytes, _other: bytes, chance: random.Random) -> bytes:
    """Flip between one bit and one bit in a thousand, anywhere."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 10, 1 + len(data) // 1000])):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def flipped_headers(data: bytes, _other: bytes, chance: random.Random) -> bytes:
    """Overwrite bytes in the first and last 4 KiB, where containers have their tables."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 4, 32])):
        at = chance.randrange(min(4096, len(data)))
        changed[at if chance.random() < 0.5 else -at - 1] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
    return bytes(changed)


def spliced(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]


def holed(data: bytes, _other: bytes, chance: random.Random) -> bytes:
    """Remove, repeat or zero a range."""
    begin = chance.randrange(len(data))
    end = min(len(data), begin + chance.randrange(1, 1 + len(data) // 4))
    middle = chance.choice([b"", data[begin:end] * 2, bytes(end - begin)])
    return data[:begin] + middle + data[end:]


def whole(data: bytes, _other: bytes, _chance: random.Random) -> bytes:
    """Change only the name."""
    return data


MUTATIONS: tuple[Mutation, ...] = (truncated, flipped, flipped_headers, spliced, holed, whole)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Sound films in many containers and codecs, and the smallest of RAYREEL_FUZZ_CLIPS."""
    folder = tmp_path_factory.mktemp("films")
    kinds = {".mp4": "libx264", ".mkv": "libx264", ".mov": "mpeg4", ".avi": "mpeg4", ".ts": "mpeg2video"}
    mute = {".mpg": "mpeg1video", ".wmv": "wmv2", ".flv": "flv"}  # these do not support AAC, or not at this rate
    made = [
        write_film(folder / f"film{suffix}", frames=20, size=(96, 64), keyframe_every=8, codec=codec, tone_hz=tone_hz)
        for films, tone_hz in ((kinds, 440.0), (mute, None))
        for suffix, codec in films.items()
    ]
    if real := os.environ.get("RAYREEL_FUZZ_CLIPS"):
        clips = [path for path in Path(real).rglob("*") if path.is_file()]
        made += sorted(clips, key=lambda path: path.stat().st_size)[:100]
    return [path.read_bytes() for path in made]


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """Outcomes of all batches; shown with `pytest -s`."""
    began, counts = time.monotonic(), Counter[str]()
    yield counts
    words = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    os.write(1, f"\n{counts.total()} damaged films in {time.monotonic() - began:.0f} s: {words}\n".encode())


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder(max_memory_bytes=1 << 30) as running:
        yield running


def what_is_wrong(clip: Clip) -> list[str]:
    """Yield the constraints on shapes, ranges and facts that a clip breaks."""
    frames, windows, facts = clip.frames, clip.windows, clip.facts
    promises = {
        "frames": frames.dtype == np.uint8 and frames.shape[1:] == (SIZE, SIZE, 3),
        "number of frames": 1 <= len(frames) <= SAMPLING.frames,
        "duration": 0 <= facts.duration_s <= LIMITS.max_duration_s,
        "picture": facts.width > 0 and facts.height > 0 and 0 <= facts.fps < np.inf,
        "sound": facts.has_audio == (windows is not None),
        "hash": len(clip.content_hash) == 64,
    }
    if windows is not None:
        promises |= {
            "windows": windows.dtype == np.float32 and windows.shape[1] == round(SAMPLING.audio_window_s * 16_000),
            "number of windows": 1 <= len(windows) <= SAMPLING.audio_windows,
            "level": bool(np.isfinite(windows).all() and np.abs(windows).max() <= 1),
        }
    return [name for name, kept in promises.items() if not kept]


@pytest.mark.parametrize("batch", range(-(-COUNT // BATCH)))
def test_a_damaged_film_gives_a_valid_clip_or_a_reason(
    films: list[bytes], decoder: IsolatedDecoder, tally: Counter[str], tmp_path: Path, batch: int
) -> None:
    problems: list[str] = []
    for seed in range(batch * BATCH, min(COUNT, (batch + 1) * BATCH)):
        chance = random.Random(seed)
        mutation = chance.choice(MUTATIONS)
        data = mutation(chance.choice(films), chance.choice(films), chance)
        (path := tmp_path / f"{seed}{chance.choice(SUFFIXES)}").write_bytes(data)
        child = decoder.pid
        outcome = decoder.decode(str(path), SAMPLING, SIZE, LIMITS)
        tally[outcome.reason if isinstance(outcome, Rejected) else "clip"] += 1
        reported = isinstance(outcome, Rejected) and outcome.reason in FATAL
        if not reported and child not in {None, decoder.pid}:
            problems.append(f"{path} ({mutation.__name__}): the decoder was replaced without a word")
        if isinstance(outcome, Rejected) and outcome.reason is Reason.DECODER_CRASH:
            problems.append(f"{path} ({mutation.__name__}): {outcome.detail}")
        elif isinstance(outcome, Rejected) and mutation is whole:
            problems.append(f"{path}: nothing but its name was changed, yet {outcome.detail}")
        elif isinstance(outcome, Clip) and (broken := what_is_wrong(outcome)):
            problems.append(f"{path} ({mutation.__name__}): {', '.join(broken)}")
        else:
            path.unlink()
    assert not problems, "\n".join(problems)
