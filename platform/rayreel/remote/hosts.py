"""Which machines and buckets an address may lead to, also by a name that resolves inwards."""

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import unquote

from rayreel.remote.address import BUCKETS, Address, plain_host, scheme_of
from rayreel.remote.config import ReadLimits

# Every host whose addresses are public; a host that is named may be anywhere.
ANY = "*"
# The same words for a name that leads inwards and for one that leads nowhere: callers must not map a network.
_INSIDE = "{host} has no public address; name it in limits.allowed_hosts if it may be asked all the same"
_MAPPED, _NAT64 = IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96")
_GLOBAL = IPv6Network("2000::/3")
# 6to4 and Teredo carry packets on to an IPv4 address; what remains of either is used by attacks alone.
_TUNNELS = IPv6Network("2002::/16"), IPv6Network("2001::/32")
# The former 6to4 relays, which Python takes for public.
_RELAYS = IPv4Network("192.88.99.0/24")
# Names that no public name server answers for (RFC 6761, 6762, 8375, ICANN 2024).
_PRIVATE_NAMES = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".localdomain", ".intranet", ".corp")


class HostNotAllowed(ValueError):
    """A host that may not be asked; a ValueError, which is lasting: nothing is tried again."""


def check_address(address: Address, limits: ReadLimits) -> None:
    """Raise HostNotAllowed for an address whose host or bucket `limits` do not let in. Asks no name server."""
    if address.scheme in BUCKETS:
        _check_bucket(address, limits)
    else:
        check_host(address.host, limits.allowed_hosts)


def check_host(host: str, allowed: Sequence[str]) -> None:
    """Raise HostNotAllowed for a host that no entry of `limits.allowed_hosts` lets in.

    An entry is a name, `*.example.com` for all below one, or `*`. Of names that `*` lets in, `places` checks the
    addresses; an address in place of a name is checked here, for nothing will resolve it. Raises BadAddress where the
    host is written in a way that other software would rewrite.
    """
    host = plain_host(f"[{host}]" if ":" in host and not host.startswith("[") else host) if host else ""
    if not _is_named(host, allowed) and (ANY not in allowed or not _may_be_public(host)):
        raise HostNotAllowed(f"{host} is not a host that may be asked; add it to limits.allowed_hosts if it should be")


def places(host: str, port: int, allowed: Sequence[str]) -> list[str]:
    """The IP addresses to connect to for a host; public ones alone where it is not named. Asks the name server.

    What this gives is what is dialled: nothing resolves the name a second time. Raises HostNotAllowed where nothing is
    left, OSError where the name does not resolve.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if not _is_named(host, allowed):
        addresses = [one for one in addresses if is_public(one)]
    if not addresses:
        raise HostNotAllowed(_INSIDE.format(host=host))
    return addresses


def check_places(host: str, allowed: Sequence[str]) -> None:
    """Raise HostNotAllowed for a host that is not named and has a private address, or no address at all."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    if not found or not (_is_named(host, allowed) or all(is_public(str(one[4][0])) for one in found)):
        raise HostNotAllowed(_INSIDE.format(host=host))


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the Internet at large: not to this machine, its networks or a special use."""
    ip = ip_address(address.partition("%")[0])
    return _is_public_v4(ip) if isinstance(ip, IPv4Address) else _is_public_v6(ip)


def _is_public_v4(ip: IPv4Address) -> bool:
    return ip.is_global and not ip.is_multicast and ip not in _RELAYS


def _is_public_v6(ip: IPv6Address) -> bool:
    if ip in _MAPPED or ip in _NAT64:  # packets to these end at the IPv4 address within
        return _is_public_v4(IPv4Address(int(ip) & 0xFFFFFFFF))
    return ip in _GLOBAL and ip.is_global and not any(ip in tunnel for tunnel in _TUNNELS)


def _is_named(host: str, allowed: Sequence[str]) -> bool:
    entries = [entry.strip("[]").rstrip(".").lower() for entry in allowed if entry != ANY]
    return any(host.endswith(entry[1:]) if entry.startswith("*.") else host == entry for entry in entries)


def _may_be_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:  # a name: its addresses will tell
        return "." in host and not host.endswith(_PRIVATE_NAMES)


def _check_bucket(address: Address, limits: ReadLimits) -> None:
    # Whatever `*` lets in, it is this machine's credentials that open a bucket: who may use them is said by name.
    wide = not limits.from_outside and ANY in limits.allowed_hosts
    if address.host not in limits.allowed_hosts and not wide:
        raise HostNotAllowed(
            f"{address.host} is not a bucket that may be read; name it in limits.allowed_hosts if it should be"
        )
    if limits.from_outside and limits.state is not None and _is_below(address, limits.state):
        raise HostNotAllowed("the service's own state is not for callers; keep videos and catalogs elsewhere")


def _is_below(address: Address, root: str) -> bool:
    """Whether an object lies at or below a storage root, however either is written."""
    if scheme_of(root) in {"", "file"}:
        return False
    bucket, _, prefix = root.partition("://")[2].partition("?")[0].partition("/")
    if bucket.rpartition("@")[2].lower() != address.host.lower():
        return False
    inside = _segments(prefix)
    return _segments(address.target)[: len(inside)] == inside


def _segments(key: str) -> list[str]:
    """A key's parts as the most lenient reader takes them: decoded, without case, `//`, `.` and `..`."""
    while (decoded := unquote(key)) != key:
        key = decoded
    parts: list[str] = []
    for part in re.split(r"[/\\]+", key.lower()):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."}:
            parts.append(part)
    return parts
