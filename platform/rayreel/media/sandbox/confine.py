"""Shutting in the process that decodes: for good, by what the kernel offers."""

import ctypes
import mmap
import os
import resource
from pathlib import Path

from rayreel.media.sandbox.syscalls import system_calls

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CAPABILITY_VERSION = 0x20080522
# What is reserved and never touched: heaps of the C library, guard pages.
_ADDRESS_SLACK_BYTES = 1 << 30
_STACK_BYTES = 64 << 20
_DESCRIPTORS = 16


def limit_memory(max_memory_bytes: int) -> None:
    """Cap memory and the size of the answer; write no core dumps, which hold as much as the memory does."""
    _cap(resource.RLIMIT_DATA, max_memory_bytes)
    _cap(resource.RLIMIT_FSIZE, max_memory_bytes)
    _cap(resource.RLIMIT_CORE, 0)


def confine(max_memory_bytes: int) -> list[str]:
    """Take from this process, for good, all that decoding does not need; returns what this kernel does not enforce.

    Everything has to be imported and open by now. The layers overlap, so that one hole opens nothing: system calls
    that open, connect, start or signal anything fail by seccomp, and files, TCP and signals by Landlock as well.
    """
    from seccompy import supported

    os.environ.clear()
    # Asked first: the library looks for the C library with the help of programs, which can soon not be started.
    offered = supported()
    # Memory of all kinds: shared mappings, for example, are not RLIMIT_DATA's.
    _cap(resource.RLIMIT_AS, _address_space() + max_memory_bytes + _ADDRESS_SLACK_BYTES)
    _cap(resource.RLIMIT_STACK, _STACK_BYTES)
    _cap(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    _cap(resource.RLIMIT_MEMLOCK, 0)
    # Not to be traced by its user's other processes, nor to be dumped through a pipe, which RLIMIT_CORE allows.
    _prctl(_PR_SET_DUMPABLE, 0)
    _drop_capabilities()
    # Nothing executed from here on gains rights; without this an ordinary user may not lock itself in either.
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    missing = _landlock()
    _cap(resource.RLIMIT_NPROC, 0)
    return [*missing, *(_seccomp() if offered else ["seccomp"])]


def _landlock() -> list[str]:
    """No rule at all: no path, no port, no signal and no abstract socket outside, as far as the kernel knows these."""
    from landlockpy import LandlockError, RestrictFlag, Ruleset, Scope

    try:
        with Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL) as nothing:
            nothing.restrict(RestrictFlag.TSYNC)
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
    """Root without them is an ordinary user who owns many files; the bounding set matters to new programs only."""
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
    """Of this process so far, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
