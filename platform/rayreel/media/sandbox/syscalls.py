"""The system calls that decoding needs: memory, clocks, its own descriptors. All others fail."""

import errno
import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seccompy import Filter

# For x86_64 and aarch64; a name that one of them lacks is left out there.
_ALLOWED = (
    # Descriptors it was given: the video, the memory of the answer, the socket. Nothing here takes a path.
    *("read", "readv", "pread64", "preadv", "write", "pwrite64", "pwritev", "lseek", "fstat", "recvmsg"),
    *("poll", "ppoll", "select", "pselect6"),
    # Memory, locks and clocks, of whatever C library.
    *("brk", "munmap", "mremap", "madvise", "futex", "membarrier", "rseq", "set_robust_list", "sched_yield"),
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getrandom"),
    # Facts about itself and the machine's size.
    *("getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getrusage", "sched_getaffinity", "getcpu"),
    *("sysinfo", "uname"),
    *("exit", "exit_group", "rt_sigreturn", "restart_syscall", "sigaltstack"),
)
# The usual answer, that of a kernel without the call: C libraries and FFmpeg then do without. The process is not
# killed for asking, since another version of a library may ask where this one does not, and the video is no worse.
_UNKNOWN = errno.ENOSYS
# Libraries look for optional files and cope where they may not read them.
_CLOSED = ("open", "openat", "openat2", "creat", "stat", "lstat", "newfstatat", "statx", "access", "faccessat")
_CLOSED_TOO = ("faccessat2", "readlink", "readlinkat", "getdents64", "chdir", "mkdir", "unlink", "rename", "execve")
_PRIVATE, _KIND = mmap.MAP_PRIVATE, 0x0F
_GROWS_DOWN = 0x100  # a stack is not of RLIMIT_DATA
_LOW_WORD = 0xFFFFFFFF  # the kernel reads an `int` from the low half of a register, whatever the high half holds
_PARENT_PIPE = 0


def system_calls() -> "Filter":
    """The filter for this process; not loaded yet, which is final."""
    from seccompy import Action, CmpOp, Filter, FilterFlag

    # All threads, should a library have started some while it was imported.
    calls = Filter(Action.ERRNO | _UNKNOWN, flags=FilterFlag.TSYNC)
    for name in _known(_ALLOWED):
        calls.allow(name)
    for name in _known((*_CLOSED, *_CLOSED_TOO)):
        calls.errno(name, errno.EACCES)
    # Memory of its own, which RLIMIT_DATA counts, and never code: what is loaded now is all that can run.
    no_code = (2, CmpOp.MASKED_EQ, 0, mmap.PROT_EXEC)
    own = (3, CmpOp.MASKED_EQ, _PRIVATE, _KIND | _GROWS_DOWN)
    calls.allow("mmap", args=[no_code, own])
    calls.allow("mprotect", args=[no_code])
    # The pipe that ends this process with its parent stays open, its flags as they are.
    calls.errno("close", errno.EPERM, args=[(0, CmpOp.MASKED_EQ, _PARENT_PIPE, _LOW_WORD)])
    calls.allow("close")
    # `abort` signals itself.
    calls.allow("tgkill", args={0: os.getpid()})
    for name in ("mmap", "mprotect", "tgkill"):
        calls.errno(name, errno.EPERM)
    return calls


def _known(names: tuple[str, ...]) -> list[str]:
    from seccompy import syscall_nr

    known = []
    for name in names:
        try:
            syscall_nr(name)
        except ValueError:
            continue
        known.append(name)
    return known
