"""The system calls that decoding needs: memory, clocks and its own descriptors. All others fail."""

import errno
import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seccompy import Filter

# For x86_64 and aarch64. Names that one of them lacks are skipped there.
_ALLOWED = (
    # On descriptors it received: the video, the shared memory, the socket. None of these calls takes a path.
    *("read", "readv", "pread64", "preadv", "write", "pwrite64", "pwritev", "lseek", "fstat", "recvmsg"),
    *("poll", "ppoll", "select", "pselect6"),
    # Memory, locks and clocks, for any C library.
    *("brk", "munmap", "mremap", "madvise", "futex", "membarrier", "rseq", "set_robust_list", "sched_yield"),
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getrandom"),
    # Information about the process and the size of the machine.
    *("getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getrusage", "sched_getaffinity", "getcpu"),
    *("sysinfo", "uname"),
    *("exit", "exit_group", "rt_sigreturn", "restart_syscall", "sigaltstack"),
)
# The error of a kernel without the call, for which C libraries and FFmpeg have a fallback. The process is not killed,
# because another version of a library may make a call that this one does not.
_UNKNOWN = errno.ENOSYS
# Libraries look for optional files and continue if they may not read them.
_NO_ACCESS = (
    *("open", "openat", "openat2", "creat", "stat", "lstat", "newfstatat", "statx", "access", "faccessat"),
    *("faccessat2", "readlink", "readlinkat", "getdents64", "chdir", "mkdir", "unlink", "rename", "execve"),
)
_PRIVATE, _KIND = mmap.MAP_PRIVATE, 0x0F
_GROWS_DOWN = 0x100  # RLIMIT_DATA does not include stacks
_LOW_WORD = 0xFFFFFFFF  # the kernel reads an `int` from the low half of a register and ignores the high half
_PARENT_PIPE = 0


def system_calls() -> "Filter":
    """Return the filter for this process. Loading it is irrevocable and left to the caller."""
    from seccompy import Action, CmpOp, Filter, FilterFlag

    # Applies to all threads, in case a library started some on import.
    calls = Filter(Action.ERRNO | _UNKNOWN, flags=FilterFlag.TSYNC)
    for name in _known(_ALLOWED):
        calls.allow(name)
    for name in _known(_NO_ACCESS):
        calls.errno(name, errno.EACCES)
    # Private memory only, which RLIMIT_DATA includes, and never executable: no code can be added.
    no_code = (2, CmpOp.MASKED_EQ, 0, mmap.PROT_EXEC)
    own = (3, CmpOp.MASKED_EQ, _PRIVATE, _KIND | _GROWS_DOWN)
    calls.allow("mmap", args=[no_code, own])
    calls.allow("mprotect", args=[no_code])
    # The pipe that ends this process with its parent must stay open.
    calls.errno("close", errno.EPERM, args=[(0, CmpOp.MASKED_EQ, _PARENT_PIPE, _LOW_WORD)])
    calls.allow("close")
    # `abort` sends a signal to its own process.
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
