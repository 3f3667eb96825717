"""Listening sockets of processes, as reported by the kernel."""

import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from processes import title

_LISTENING = "0A"


@dataclass(frozen=True)
class Listener:
    """A TCP socket that a process listens on, with the process's RAY_AUTH_MODE."""

    address: str
    port: int
    pid: int
    title: str
    auth_mode: str

    @property
    def is_on_loopback(self) -> bool:
        """Whether it is reachable only from this machine."""
        address = ipaddress.ip_address(self.address)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def with_children(pids: Iterable[int]) -> set[int]:
    """Return these processes and all descendants: a process that renames itself may lose its environment."""
    running = (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())
    parents = {pid: _parent(pid) for pid in running}
    found = set(pids)
    while new := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= new
    return found


def listeners(pids: Iterable[int]) -> list[Listener]:
    """Return all sockets that these processes listen on."""
    sockets = _listening_sockets()
    return [
        Listener(*sockets[inode], pid, title(pid), _auth_mode(pid))
        for pid in sorted(pids)
        for inode in sorted(_sockets_of(pid) & sockets.keys())
    ]


def _listening_sockets() -> dict[str, tuple[str, int]]:
    """Address and port by inode, for this network namespace."""
    found = {}
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTENING:
                digits, port = words[1].split(":")
                raw = b"".join(bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8))
                found[words[9]] = (socket.inet_ntop(family, raw), int(port, 16))
    return found


def _sockets_of(pid: int) -> set[str]:
    links = []
    with suppress(OSError):  # the process has ended
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                links.append(str(file.readlink()))
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def _auth_mode(pid: int) -> str:
    """RAY_AUTH_MODE of the process, or of its nearest ancestor that has it."""
    while pid > 1:
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return ""
        for word in words:
            if word.startswith(b"RAY_AUTH_MODE="):
                return word.partition(b"=")[2].decode()
        pid = _parent(pid)
    return ""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
