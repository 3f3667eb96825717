"""Decoding in a child process: a segfault, a memory bomb, a hang or an attack is the outcome of that one video."""

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Self

from rayreel.errors import RayreelError
from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip, Samples
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_samples
from rayreel.media.fetch import local_copy
from rayreel.media.open import Deadline
from rayreel.media.sandbox.message import Question
from rayreel.media.sandbox.process import DecoderProcess
from rayreel.media.sandbox.serve import Decode
from rayreel.media.source import VideoFile, open_file

MAX_MEMORY_BYTES = 2 << 30
# Decoding watches its own deadline and mostly ends by itself; this is for a decoder that no longer looks up.
GRACE_S = 2.0


class IsolatedDecoder:
    """Decodes videos one at a time in a child process, started at the first video and replaced when it dies.

    The child gets each video as an open descriptor and can reach nothing else: see `rayreel.media.sandbox.confine`.
    `max_memory_bytes` is what it may allocate; `allowed_roots` as for `local_copy`. `decode_with` is a function at the
    top level of a module that the child can import. Not for use across a fork; safe to share between threads.
    """

    def __init__(
        self,
        max_memory_bytes: int = MAX_MEMORY_BYTES,
        allowed_roots: Sequence[Path] = (),
        decode_with: Decode = decode_samples,
    ) -> None:
        self.max_memory_bytes = max_memory_bytes
        self.allowed_roots = tuple(allowed_roots)
        self.decode_with = f"{decode_with.__module__}:{decode_with.__qualname__}"
        self._child: DecoderProcess | None = None
        self._turn = threading.Lock()

    def decode(self, uri: str, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
        """As `rayreel.media.decode.decode`; also survives what would end a process.

        Rejected for `DECODER_CRASH`, for `TOO_LARGE` when memory ran out, for `TIMEOUT` when the child had to be
        killed. Raises RayreelError where no child process can be started, or none that is shut in as
        `limits.require_sandbox` demands.
        """
        with local_copy(uri, limits, self.allowed_roots) as path:
            if isinstance(path, Rejected):
                return path
            with open_file(path) as file:
                return file if isinstance(file, Rejected) else self._decode(file, sampling, size, limits)

    def close(self) -> None:
        """End the child; the next video would start another."""
        with self._turn:
            if self._child is not None:
                self._child.end()
                self._child = None

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._child.process.pid if self._child else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self, file: VideoFile, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
        question = Question.about(file.name, file.size, sampling, size, limits)
        with self._turn:
            outcome = self._ask(file, question, limits.timeout_s + GRACE_S)
        if isinstance(outcome, Rejected):
            return outcome
        # Not by the child: taken over, it could give this video the name of another one.
        try:
            return Clip.of(outcome, file.sha256(Deadline(limits.timeout_s).check))
        except TimeoutError as error:
            return Rejected(Reason.TIMEOUT, f"{file.name}: {error}")

    def _ask(self, file: VideoFile, question: Question, timeout_s: float) -> Samples | Rejected:
        child, self._child = self._child, None
        if child is not None and not child.usable:
            child.end()
            child = None
        child = child or DecoderProcess(self.max_memory_bytes, self.decode_with)
        try:
            if question.limits.require_sandbox and child.missing:
                raise RayreelError(
                    f"limits.require_sandbox is set, and this kernel or container lacks {', '.join(child.missing)}. "
                    "Run on Linux 5.13 or later with Landlock and seccomp on, or set limits.require_sandbox=false."
                )
            outcome = child.ask(file, question, timeout_s)
        except BaseException:  # an interrupt between question and answer: the next video must not get this one's clip
            child.end()
            raise
        if child.process.returncode is None:
            self._child = child
        return outcome


@cache
def process_decoder(
    max_memory_bytes: int = MAX_MEMORY_BYTES,
    allowed_roots: tuple[Path, ...] = (),
    decode_with: Decode = decode_samples,
) -> IsolatedDecoder:
    """The one decoder of this process, which lives as long as it: what tasks on a Ray worker share."""
    return IsolatedDecoder(max_memory_bytes, allowed_roots, decode_with)
