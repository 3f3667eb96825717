"""Confine the decoding process irrevocably, with all layers that the kernel supports."""

import ctypes
import mmap
import os
import resource
from pathlib import Path

from rayreel.media.sandbox.syscalls import system_calls

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CAPABILITY_VERSION = 0x20080522
# For address space that is reserved and never used: heaps of the C library, guard pages.
_ADDRESS_SLACK_BYTES = 1 << 30
_STACK_BYTES = 64 << 20
_DESCRIPTORS = 16


def limit_memory(max_memory_bytes: int) -> None:
    """Limit memory and the size of the answer, and disable core dumps, which would be as large as the memory."""
    _cap(resource.RLIMIT_DATA, max_memory_bytes)
    _cap(resource.RLIMIT_FSIZE, max_memory_bytes)
    _cap(resource.RLIMIT_CORE, 0)


def confine(max_memory_bytes: int) -> list[str]:
    """Drop irrevocably all privileges that decoding does not need; return the layers that this kernel lacks.

    Every import and every open must happen before. The layers overlap, so that a gap in one is covered by another:
    seccomp blocks system calls that open, connect, execute or signal, and Landlock blocks files, TCP and signals.
    """
    from seccompy import supported

    os.environ.clear()
    # Called first, because the library runs programs to find the C library, which will soon be forbidden.
    offered = supported()
    # All kinds of memory: RLIMIT_DATA does not include shared mappings, for example.
    _cap(resource.RLIMIT_AS, _address_space() + max_memory_bytes + _ADDRESS_SLACK_BYTES)
    _cap(resource.RLIMIT_STACK, _STACK_BYTES)
    _cap(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    _cap(resource.RLIMIT_MEMLOCK, 0)
    # Disables tracing by the user's other processes, and core dumps to a pipe, which RLIMIT_CORE does not limit.
    _prctl(_PR_SET_DUMPABLE, 0)
    _drop_capabilities()
    # No program executed from now on gains privileges; Landlock and seccomp require this of an unprivileged process.
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    missing = _landlock()
    _cap(resource.RLIMIT_NPROC, 0)
    return [*missing, *(_seccomp() if offered else ["seccomp"])]


def _landlock() -> list[str]:
    """Apply a ruleset without rules: no path, port, outside signal or abstract socket, as far as the kernel can."""
    from landlockpy import LandlockError, RestrictFlag, Ruleset, Scope

    try:
        with Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL) as ruleset:
            ruleset.restrict(RestrictFlag.TSYNC)
    except LandlockError as error:
        return [f"Landlock ({error.strerror or error})"]
    return []


def _seccomp() -> list[str]:
    from seccompy import SeccompError

    try:
        system_calls().load()
    except SeccompError as error:
        return [f"seccomp ({error.strerror or error})"]
    return []


def _drop_capabilities() -> None:
    """Drop all capabilities, which matters if this runs as root. The bounding set affects new programs only."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    _checked(_libc().capset(header, none))


def _prctl(option: int, value: int) -> None:
    _checked(_libc().prctl(option, value, 0, 0, 0))


def _checked(answer: int) -> None:
    if answer != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _cap(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (most, most))


def _address_space() -> int:
    """Return the address space that this process uses, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
