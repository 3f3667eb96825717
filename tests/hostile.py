"""Attacks that a video could try after taking over its decoder; importable by the decoder process.

A "video" here is JSON with the targets of an attack, and its file name selects the attack. The result is the name of
the kernel's error, or "allowed" and what was reached.
"""

import ctypes
import errno
import gc
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seccompy import syscall_nr

from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Samples
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_samples

if TYPE_CHECKING:
    from rayreel.media.source import VideoFile

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
Attempt = Callable[[dict[str, Any]], object]
PARENT = os.getppid()
# Load codecs now: importing them later would fail for another reason.
"x".encode("idna"), "x".encode("latin-1")


def call(name: str, *arguments: object) -> str:
    """Make a system call by name, even if Python and the C library have no function for it."""
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    answer = libc.syscall(ctypes.c_long(syscall_nr(name)), *values)
    if answer == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return f"{name} gave {answer}"


def read(path: str) -> str:
    return str(len(Path(path).read_bytes()))


def write(path: str) -> str:
    return str(Path(path).write_text("owned"))


def connect(kind: int, family: int, address: str | tuple[str, int]) -> str:
    with socket.socket(family, kind) as outside:
        outside.settimeout(2)
        outside.connect(address)
        outside.send(b"hello")
    return "sent"


def stay_behind(_: dict[str, Any]) -> str:
    if child := os.fork():
        return f"process {child}"
    time.sleep(600)
    os._exit(0)


def escape(_: dict[str, Any]) -> str:
    """Fork twice with a session in between, as daemons do."""
    reader, writer = os.pipe()
    if os.fork():
        return f"process {int(os.read(reader, 20))}"
    os.setsid()
    if child := os.fork():
        os.write(writer, str(child).encode())
        os._exit(0)
    time.sleep(600)
    os._exit(0)


def fexec(_: dict[str, Any]) -> str:
    program = os.memfd_create("program", 0)
    os.write(program, Path("/bin/true").read_bytes())
    os.execve(program, ["true"], {})


def parent_memory(_: dict[str, Any]) -> str:
    room = ctypes.create_string_buffer(8)
    here = (ctypes.c_size_t * 2)(ctypes.addressof(room), 8)
    there = (ctypes.c_size_t * 2)(0, 8)
    try:
        return call("process_vm_readv", PARENT, here, 1, there, 1, 0)
    except OSError as error:
        if error.errno == errno.EFAULT:  # address 0 is unmapped: the kernel did try to read it
            return "looked"
        raise


def shared_memory(_: dict[str, Any]) -> str:
    """Allocate memory that RLIMIT_DATA does not count."""
    with mmap.mmap(-1, 64 << 20, flags=mmap.MAP_SHARED) as room:
        room[::4096] = b"x" * (len(room) // 4096)
        return f"{len(room)} bytes"


def new_code(_: dict[str, Any]) -> str:
    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC, flags=mmap.MAP_PRIVATE):
        return "mapped"


def threads(_: dict[str, Any]) -> str:
    import _thread

    try:
        for _number in range(500):
            _thread.start_new_thread(time.sleep, (600,))
    except RuntimeError as error:
        return str(error)
    return "allowed 500"


def descriptors(_: dict[str, Any]) -> str:
    taken = 0
    try:
        for _number in range(5000):
            os.dup(1)
            taken += 1
    except OSError as error:
        return f"{taken} taken, {errno.errorcode[error.errno or 0]}"
    return f"allowed {taken}"


def disarm(_: dict[str, Any]) -> str:
    """Try to outlive the parent by closing the pipe whose end kills this process."""
    return call("close", (1 << 32))  # the kernel reads the low half: 0


def ioctl_terminal(_: dict[str, Any]) -> str:
    return call("ioctl", 2, 0x5412, ctypes.create_string_buffer(b"x"))


def video_of(_: dict[str, Any]) -> int:
    frame: Any = sys._getframe()
    while "file" not in frame.f_locals:
        frame = frame.f_back
    return int(getattr(frame.f_locals["file"], "descriptor", -1))


def grow_limits(_: dict[str, Any]) -> str:
    resource.setrlimit(resource.RLIMIT_DATA, (-1, -1))
    return "unlimited"


def spin(_: dict[str, Any]) -> str:
    while True:
        pass


def hoard(_: dict[str, Any]) -> str:
    return str(len(bytearray(64 << 30)))


def abort(_: dict[str, Any]) -> str:
    os.abort()


ATTEMPTS: dict[str, Attempt] = {
    "read the parent's environment": lambda _: read(f"/proc/{PARENT}/environ"),
    "read its own environment": lambda _: read("/proc/self/environ"),
    "read the shadow file": lambda _: read("/etc/shadow"),
    "read the list of users": lambda _: read("/etc/passwd"),
    "read another file": lambda targets: read(targets["secret"]),
    "ask for another file's size": lambda targets: str(Path(targets["secret"]).stat().st_size),
    "write a file": lambda targets: write(targets["new"]),
    "overwrite a file": lambda targets: write(targets["secret"]),
    "delete a file": lambda targets: Path(targets["victim"]).unlink(),
    "make a folder": lambda targets: Path(targets["new"]).mkdir(),
    "link to a file": lambda targets: Path(targets["new"]).symlink_to(targets["secret"]),
    "list a folder": lambda targets: str(list(Path(targets["folder"]).iterdir())),
    "enter a folder": lambda targets: os.chdir(targets["folder"]),
    "change the video's mode": lambda targets: call("fchmod", video_of(targets), 0o777),
    "connect over TCP": lambda targets: connect(socket.SOCK_STREAM, socket.AF_INET, ("127.0.0.1", targets["port"])),
    "send over UDP": lambda targets: connect(socket.SOCK_DGRAM, socket.AF_INET, ("127.0.0.1", targets["port"])),
    "connect to a unix socket": lambda targets: connect(socket.SOCK_STREAM, socket.AF_UNIX, targets["unix"]),
    "connect to an abstract socket": lambda targets: connect(
        socket.SOCK_STREAM, socket.AF_UNIX, "\0" + targets["abstract"]
    ),
    "make a raw socket": lambda _: connect(socket.SOCK_RAW, socket.AF_INET, ("127.0.0.1", 9)),
    "listen": lambda _: str(socket.create_server(("127.0.0.1", 0)).getsockname()),
    "run a program": lambda _: str(os.execv("/bin/true", ["true"])),
    "run a program from memory": fexec,
    "leave a process behind": stay_behind,
    "leave a process in a session of its own": escape,
    "start threads": threads,
    "trace the parent": lambda _: call("ptrace", 0x4206, PARENT, 0, 0),
    "signal the parent": lambda _: os.kill(PARENT, signal.SIGURG),
    "signal a group": lambda _: os.killpg(PARENT, 0),
    "signal the parent's thread": lambda _: call("tgkill", PARENT, PARENT, 0),
    "queue a signal": lambda _: call("rt_sigqueueinfo", PARENT, 0, struct.pack("iii", 0, 0, -1) + bytes(116)),
    "hold the parent by descriptor": lambda _: call("pidfd_open", PARENT, 0),
    "read the parent's memory": parent_memory,
    "change the parent's limits": lambda _: str(resource.prlimit(PARENT, resource.RLIMIT_CORE)),
    "raise its own limits": grow_limits,
    "io_uring_setup": lambda _: call("io_uring_setup", 4, ctypes.create_string_buffer(120)),
    "bpf": lambda _: call("bpf", 0, ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 8, 1) + bytes(112)), 128),
    "userfaultfd": lambda _: call("userfaultfd", 0),
    "add_key": lambda _: call("add_key", b"user", b"rayreel-test", b"x", 1, -2),
    "keyctl": lambda _: call("keyctl", 0, -2, 1),
    "perf_event_open": lambda _: call(
        "perf_event_open", ctypes.create_string_buffer(struct.pack("IIQ", 1, 128, 0) + bytes(112)), 0, -1, -1, 0
    ),
    "mount": lambda targets: call("mount", b"none", targets["folder"].encode(), b"tmpfs", 0, 0),
    "unshare": lambda _: call("unshare", 0x10000000),
    "memfd_create": lambda _: call("memfd_create", b"x", 0),
    "open_by_handle_at": lambda _: call("open_by_handle_at", -100, bytes(16), 0),
    "openat2": lambda targets: call("openat2", -100, targets["secret"].encode(), bytes(24), 24),
    "personality": lambda _: call("personality", 0x0400000),
    "become another user": lambda _: os.setuid(65534),
    "be traced by others": lambda _: call("prctl", 4, 1, 0, 0, 0),
    "inotify_init1": lambda _: call("inotify_init1", 0),
    "memory that is not counted": shared_memory,
    "a stack that is not counted": lambda _: call("mmap", 0, 64 << 20, 3, 0x122, -1, 0),
    "new code": new_code,
    "fill the descriptor table": descriptors,
    "close the pipe that ends it": disarm,
    "silence the pipe that ends it": lambda _: call("fcntl", 0, 4, 0),
    "ignore signals": lambda _: str(signal.signal(signal.SIGXCPU, signal.SIG_IGN)),
    "block signals": lambda _: str(signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGXCPU])),
    "type into the terminal": ioctl_terminal,
    "compute without end": spin,
    "hoard memory": hoard,
    "abort": abort,
}


def targets_in(file: "VideoFile | Path") -> dict[str, Any]:
    content = file.read_bytes() if isinstance(file, Path) else os.pread(file.descriptor, 1 << 16, 0)
    return dict(json.loads(content))


def attack(file: "VideoFile | Path", *_: object) -> Rejected:
    """Run the attack that the file's name selects."""
    attempt, targets = ATTEMPTS[Path(file.name).stem], targets_in(file)
    try:
        outcome = f"allowed: {attempt(targets)}"
    except OSError as error:
        outcome = errno.errorcode[error.errno or 0]
    return Rejected(Reason.NO_FRAMES, outcome)


def attack_or_decode(file: "VideoFile", sampling: SamplingConfig, size: int, limits: Limits) -> Samples | Rejected:
    """Run the attack that the file's name selects; decode any other file."""
    if Path(file.name).stem in ATTEMPTS:
        return attack(file)
    if Path(file.name).suffix == ".say":
        return say(file)
    return decode_samples(file, sampling, size, limits)


def say(file: "VideoFile") -> Rejected:
    """Write the file's content to the socket as a response, then do what the file's name selects."""
    frame: Any = sys._getframe()
    while "request" not in frame.f_locals:
        frame = frame.f_back
    request = frame.f_locals["request"]
    parent = next(thing for thing in gc.get_objects() if isinstance(thing, socket.socket) and thing.fileno() > 2)
    content = os.pread(file.descriptor, 1 << 20, 0)
    os.write(parent.fileno(), content.replace(b"TOKEN", request.token.encode()))
    match Path(file.name).stem:
        case "once":
            time.sleep(600)
        case "spin":
            spin({})
        case "close":
            parent.close()
            time.sleep(600)
    return Rejected(Reason.NO_FRAMES, "and again")


def environment(*_: object) -> Rejected:
    """Return the remaining environment, as seen by Python and by the C library."""
    known = ctypes.c_void_p.in_dll(libc, "environ").value
    first = ctypes.cast(known, ctypes.POINTER(ctypes.c_char_p))[0] if known else None
    return Rejected(Reason.NO_FRAMES, json.dumps(dict(os.environ) if first is None else str(first)))
