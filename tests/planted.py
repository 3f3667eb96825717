"""Decoders with planted faults, for tests of robustness; importable by the decoder process."""

import ctypes
import logging
import os
import sys
import time
from pathlib import Path

import numpy as np

from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Samples
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_samples
from rayreel.media.source import VideoFile


def faulty(file: VideoFile, sampling: SamplingConfig, size: int, limits: Limits) -> Samples | Rejected:
    """Trigger the fault that the file's name selects; decode any other file."""
    match Path(file.name).stem:
        case "crash":
            ctypes.string_at(0)
        case "hang":
            time.sleep(3600)
        case "hang_in_c":  # keeps the interpreter's lock, so that no other thread runs either
            ctypes.PyDLL(None).sleep(3600)
        case "exit":
            os._exit(3)
        case "bug":
            raise ZeroDivisionError("planted")
        case "log":
            logging.getLogger("libav.aac").error("broken\x1b[2J", extra={"error": "sound left out"})
        case "warn":
            np.array([1.0]) / np.array([0.0])
        case "late_imports":
            late = np.__numpy_submodules__ - {"core", "f2py", "test", "testing", "typing"}
            assert all(getattr(np, name) for name in late) and np.median([1.0, 2.0]) == 1.5
        case "bomb":
            hoard = bytearray(64 << 30)
            return Rejected(Reason.NO_FRAMES, str(len(hoard)))
        case "slow_bomb":
            pieces = []
            while True:
                pieces.append(b"x" * (16 << 20))
    return decode_samples(file, sampling, size, limits)


def confess(file: VideoFile, _sampling: SamplingConfig, _size: int, _limits: Limits) -> Rejected:
    """Report the state of the decoder process instead of decoding."""
    match file.name:
        case "modules":
            return Rejected(Reason.NO_FRAMES, " ".join(sorted({name.split(".")[0] for name in sys.modules})))
        case "environment":
            return Rejected(Reason.NO_FRAMES, " ".join(os.environ))
    return Rejected(Reason.NO_FRAMES, str(os.getpid()))
