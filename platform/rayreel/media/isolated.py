"""Decode in a child process, so that a segfault, a memory bomb, a hang or an attack affects only that one video."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Self

from rayreel.deadline import Deadline
from rayreel.errors import RayreelError
from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip, Samples
from rayreel.media.config import MAX_MEMORY_BYTES, Limits, SamplingConfig
from rayreel.media.decode import decode_samples
from rayreel.media.fetch import local_copy
from rayreel.media.sandbox.message import DecodeRequest
from rayreel.media.sandbox.process import DecoderProcess
from rayreel.media.sandbox.serve import Decode
from rayreel.media.source import VideoFile, open_file

# Decoding checks its own deadline. The parent waits this much longer and then kills a decoder that hangs.
GRACE_S = 2.0


class IsolatedDecoder:
    """Decodes videos one at a time in a child process, which starts with the first video and is replaced if it dies.

    The child receives each video as an open descriptor and has access to nothing else: see
    `rayreel.media.sandbox.confine`. It may allocate `max_memory_bytes`; `allowed_roots` is passed to `local_copy`.
    `decode_with` must be a top-level function of a module that the child can import. Without `confined`, which only
    decoding on a GPU needs, the child is a process of its own and no more. Safe to share between threads, but not
    across a fork.
    """

    def __init__(
        self,
        max_memory_bytes: int = MAX_MEMORY_BYTES,
        allowed_roots: Sequence[Path] = (),
        decode_with: Decode = decode_samples,
        *,
        confined: bool = True,
    ) -> None:
        self.max_memory_bytes, self.confined = max_memory_bytes, confined
        self.allowed_roots = tuple(allowed_roots)
        self.decode_with = f"{decode_with.__module__}:{decode_with.__qualname__}"
        self._child: DecoderProcess | None = None
        self._turn = threading.Lock()

    def decode(self, uri: str, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
        """Decode a video, as `rayreel.media.decode.decode` does, in the child process.

        Also rejects a video with `DECODER_CRASH` if the child died, `TOO_LARGE` if it ran out of memory, and `TIMEOUT`
        if it had to be killed. Raises RayreelError if the child process cannot be started, or if
        `limits.require_sandbox` is set and the kernel lacks part of the sandbox.
        """
        with local_copy(uri, limits, self.allowed_roots) as path:
            if isinstance(path, Rejected):
                return path
            with open_file(path) as file:
                return file if isinstance(file, Rejected) else self._decode(file, sampling, size, limits)

    def close(self) -> None:
        """End the child. The next video starts another one."""
        with self._turn:
            if self._child is not None:
                self._child.end()
                self._child = None

    @property
    def pid(self) -> int | None:
        """The child's process ID; None if no child is running."""
        return self._child.process.pid if self._child else None

    @property
    def cpu_s(self) -> float:
        """CPU time that the child has used, in seconds; 0 if no child is running."""
        with suppress(OSError):  # it has died
            return self._child.cpu_s if self._child else 0.0
        return 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self, file: VideoFile, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
        request = DecodeRequest.for_file(file.name, file.size, sampling, size, limits)
        with self._turn:
            outcome = self._ask(file, request, limits.timeout_s + GRACE_S)
            if isinstance(outcome, Rejected) and outcome.reason is Reason.DECODER_CRASH:
                # The first crash may have another cause, such as an earlier video or the OOM killer.
                outcome = self._ask(file, request, limits.timeout_s + GRACE_S)
        if isinstance(outcome, Rejected):
            return outcome
        # Hashed here and not by the child, because a compromised child could return the hash of another video.
        try:
            return Clip.of(outcome, file.sha256(Deadline(limits.timeout_s).check))
        except TimeoutError as error:
            return Rejected(Reason.TIMEOUT, f"{file.name}: {error}")

    def _ask(self, file: VideoFile, request: DecodeRequest, timeout_s: float) -> Samples | Rejected:
        child, self._child = self._child, None
        if child is not None and not child.usable:
            child.end()
            child = None
        child = child or DecoderProcess(self.max_memory_bytes, self.decode_with, confined=self.confined)
        try:
            if request.limits.require_sandbox and child.missing:
                raise RayreelError(
                    f"limits.require_sandbox is set, but this kernel or container lacks {', '.join(child.missing)}. "
                    "Use Linux 5.13 or later with Landlock and seccomp enabled, or set limits.require_sandbox=false."
                )
            outcome = child.ask(file, request, timeout_s)
        except BaseException:  # after an interrupt, the pending answer must not be read as that of the next video
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
    *,
    confined: bool = True,
) -> IsolatedDecoder:
    """Return the decoder of this process, which the tasks on a Ray worker share. It lives as long as the process."""
    return IsolatedDecoder(max_memory_bytes, allowed_roots, decode_with, confined=confined)
