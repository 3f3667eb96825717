"""The messages between a decoder and its parent: JSON with a fixed schema, and plain numbers in shared memory.

The parent validates every response, because a video may have compromised the process that sends it.
"""

import logging
import math
import os
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from rayreel.failures import Reason, Rejected
from rayreel.media.clip import MediaFacts, Samples
from rayreel.media.config import AUDIO_RATE_HZ, Limits, SamplingConfig

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 16
_DETAIL_CHARACTERS = 2000
_NAME_CHARACTERS = 255
_NOTE_CHARACTERS = 300
MAX_NOTES = 8
_Positive = Annotated[int, Field(gt=0, lt=1 << 31)]
_Note = Annotated[str, Field(max_length=_NOTE_CHARACTERS)]
_Rate = Annotated[float, Field(ge=0, lt=1e9)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DecodeRequest(_Message):
    """A request to decode one video. Its descriptor and that of the shared memory are sent with it."""

    token: str
    name: str
    bytes: int
    size: int
    sampling: SamplingConfig
    limits: Limits

    @classmethod
    def for_file(cls, name: str, count: int, sampling: SamplingConfig, size: int, limits: Limits) -> Self:
        """Return the request for a file of `count` bytes; `name` may be any file name."""
        printable = name.encode(errors="backslashreplace").decode()[-_NAME_CHARACTERS:]
        here = limits.model_copy(update={"allowed_roots": (), "allowed_hosts": ()})
        token = os.urandom(8).hex()
        return cls(token=token, name=printable, bytes=count, size=size, sampling=sampling, limits=here)

    def memory_bytes(self) -> int:
        """Return the size of the arrays of the largest valid response, bytes."""
        windows, samples = self._most_windows()
        return self._most_frames() * self.size**2 * 3 + windows * samples * 4 + self._most_track() * 2

    def _most_frames(self) -> int:
        return self.sampling.frames * self.sampling.window

    def _most_windows(self) -> tuple[int, int]:
        return self.sampling.audio_windows, round(self.sampling.audio_window_s * AUDIO_RATE_HZ)

    def _most_track(self) -> int:
        return round(self.sampling.track_s * AUDIO_RATE_HZ)

    def check(self, frames: "Array", windows: "Array | None", track: "Array | None") -> None:
        """Raise ValueError if the arrays do not have the requested type and size."""
        if track is not None and (
            track.dtype != "int16" or len(track.shape) != 1 or track.shape[0] > self._most_track()
        ):
            raise ValueError(f"a track of {track.dtype} {track.shape}")
        if frames.dtype != "uint8" or frames.shape[1:] != (self.size, self.size, 3):
            raise ValueError(f"frames of {frames.dtype} {frames.shape}")
        if frames.shape[0] > self._most_frames():
            raise ValueError(f"{frames.shape[0]} frames")
        if windows is None:
            return
        most, samples = self._most_windows()
        if windows.dtype != "float32" or windows.shape[1:] != (samples,) or windows.shape[0] > most:
            raise ValueError(f"windows of {windows.dtype} {windows.shape}")


class Array(_Message):
    """The type and shape of an array. The arrays are in the shared memory, one after the other."""

    dtype: Literal["uint8", "float32", "int16"]
    shape: Annotated[tuple[_Positive, ...], Field(min_length=1, max_length=4, strict=False)]

    @classmethod
    def of(cls, array: NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.int16]) -> Self:
        """Return the type and shape of an array."""
        return cls.model_validate({"dtype": array.dtype.name, "shape": array.shape})

    @property
    def count(self) -> int:
        """The size of the array, bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class DecoderReady(_Message):
    """The first message of the process: the sandbox layers that the kernel lacks."""

    missing: list[str]


class _Facts(_Message):
    duration_s: _Rate
    width: _Positive
    height: _Positive
    fps: _Rate
    has_audio: bool


class _Decoded(_Message):
    frames: Array
    windows: Array | None = None
    track: Array | None = None
    facts: _Facts


class _Rejection(_Message):
    reason: Annotated[Reason, Field(strict=False)]
    detail: Annotated[str, Field(max_length=_DETAIL_CHARACTERS)]


class DecodeResponse(_Message):
    """The outcome for one video, without the arrays."""

    token: str
    taken: _Decoded | None = None
    refused: _Rejection | None = None
    notes: Annotated[list[_Note], Field(max_length=MAX_NOTES)] = []


def write_response(token: str, outcome: Samples | Rejected, memory: int, notes: Sequence[str] = ()) -> bytes:
    """Write the arrays to shared memory and return the message. `notes` are errors that did not reject the video."""
    if isinstance(outcome, Rejected):
        detail = outcome.detail.encode(errors="backslashreplace").decode()[:_DETAIL_CHARACTERS]
        return _encoded(
            DecodeResponse(token=token, refused=_Rejection(reason=outcome.reason, detail=detail), notes=_short(notes))
        )
    facts = _Facts(**{name: getattr(outcome.facts, name) for name in _Facts.model_fields})
    arrays = {"frames": outcome.frames, "windows": outcome.windows, "track": outcome.track}
    present = {name: array for name, array in arrays.items() if array is not None and array.size}
    forms, written = {name: Array.of(array) for name, array in present.items()}, 0
    for array in present.values():
        written += _write(array, memory, written)
    if written != sum(form.count for form in forms.values()):
        raise OSError(f"only {written} bytes of the arrays fit into the shared memory")
    taken = _Decoded(**forms, facts=facts)
    return _encoded(DecodeResponse(token=token, taken=taken, notes=_short(notes)))


def read_response(request: DecodeRequest, message: bytes, memory: int) -> Samples | Rejected:
    """Return the outcome in a message and the shared memory. Raises ValueError if the response is invalid.

    Checks sizes against the request before it allocates anything, and reads the memory only once.
    """
    response = DecodeResponse.model_validate_json(message)
    if response.token != request.token:
        raise ValueError("response to another request")
    if (response.taken is None) == (response.refused is None):
        raise ValueError("not exactly one of samples and reason")
    for note in response.notes:
        log.error("decoding %s: %s", request.name, _printable(note))
    if response.refused is not None:
        return Rejected(response.refused.reason, _printable(response.refused.detail))
    assert response.taken is not None
    return _samples(request, response.taken, memory)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _short(notes: Sequence[str]) -> list[str]:
    encodable = (note.encode(errors="backslashreplace").decode() for note in notes[:MAX_NOTES])
    return [note[:_NOTE_CHARACTERS] for note in encodable]


def _samples(request: DecodeRequest, taken: _Decoded, memory: int) -> Samples:
    request.check(taken.frames, taken.windows, taken.track)
    if taken.facts.has_audio != (taken.windows is not None):
        raise ValueError("has_audio contradicts the windows")
    frames: NDArray[np.uint8] = _read(taken.frames, memory, 0)
    windows: NDArray[np.float32] | None = None
    track: NDArray[np.int16] | None = None
    start = taken.frames.count
    if taken.windows is not None:
        windows = _read(taken.windows, memory, start)
        start += taken.windows.count
        if not (np.abs(windows) <= 1).all():  # false for NaN too
            raise ValueError("audio outside [-1, 1]")
    if taken.track is not None:
        track = _read(taken.track, memory, start)
    return Samples(frames, windows, MediaFacts(**taken.facts.model_dump()), track=track)


def _read(form: Array, memory: int, start: int) -> NDArray:  # type: ignore[type-arg]
    array = np.empty(form.shape, form.dtype)
    room, position = array.data.cast("B"), 0
    while position < form.count:
        count = os.preadv(memory, [room[position:]], start + position)
        if count == 0:
            raise ValueError("the arrays are larger than the shared memory")
        position += count
    return array


def _write(array: NDArray, memory: int, start: int) -> int:  # type: ignore[type-arg]
    return os.pwrite(memory, np.ascontiguousarray(array).data, start)


def _encoded(response: DecodeResponse) -> bytes:
    return response.model_dump_json(exclude_none=True).encode()
