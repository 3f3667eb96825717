"""Allowed hosts and buckets. Prevents access to private networks, also through names that resolve to them."""

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import unquote

from rayreel.remote.address import BUCKETS, Address, plain_host, scheme_of
from rayreel.remote.config import ReadLimits

# Every host with public addresses; a host listed by name may have any address.
ANY = "*"
# The same message for private addresses and for unknown names, so that clients cannot map the private network.
_NOT_PUBLIC = "{host} has no public address; add it to limits.allowed_hosts to allow a private one"
_MAPPED, _NAT64 = IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96")
_GLOBAL = IPv6Network("2000::/3")
# 6to4 and Teredo forward packets to an IPv4 address. Both are obsolete and only useful for attacks.
_TUNNELS = IPv6Network("2002::/16"), IPv6Network("2001::/32")
# The former 6to4 relays, which Python treats as public.
_RELAYS = IPv4Network("192.88.99.0/24")
# Names that are not in the public DNS (RFC 6761, 6762, 8375, ICANN 2024).
_PRIVATE_NAMES = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".localdomain", ".intranet", ".corp")


class HostNotAllowed(ValueError):
    """The host or bucket is not allowed. A ValueError, so it is not retried."""


def check_address(address: Address, limits: ReadLimits) -> None:
    """Raise HostNotAllowed if `limits` do not allow the host or bucket. Does not resolve the name."""
    if address.scheme in BUCKETS:
        _check_bucket(address, limits)
    else:
        check_host(address.host, limits.allowed_hosts)


def check_host(host: str, allowed: Sequence[str]) -> None:
    """Raise HostNotAllowed if no entry of `allowed` (`limits.allowed_hosts`) matches the host.

    An entry is a name, `*.example.com` for all its subdomains, or `*`. If only `*` matches, IP addresses are checked
    here, and the addresses of names in `resolve`. Raises BadAddress if the host is not in canonical form.
    """
    host = plain_host(f"[{host}]" if ":" in host and not host.startswith("[") else host) if host else ""
    if not _is_named(host, allowed) and (ANY not in allowed or not _may_be_public(host)):
        raise HostNotAllowed(f"{host} is not an allowed host; add it to limits.allowed_hosts to allow it")


def resolve(host: str, port: int, allowed: Sequence[str]) -> list[str]:
    """Resolve a host and return the IP addresses to connect to: only public ones, unless the host is listed by name.

    Connect to these addresses without resolving the name again, as it may then resolve to others. Raises
    HostNotAllowed if no address is left, and OSError if the name cannot be resolved.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    if not _is_named(host, allowed):
        addresses = [address for address in addresses if is_public(address)]
    if not addresses:
        raise HostNotAllowed(_NOT_PUBLIC.format(host=host))
    return addresses


def check_resolved(host: str, allowed: Sequence[str]) -> None:
    """Raise HostNotAllowed if a host cannot be resolved, or has a private address and is not listed by name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    if not found or not (_is_named(host, allowed) or all(is_public(str(info[4][0])) for info in found)):
        raise HostNotAllowed(_NOT_PUBLIC.format(host=host))


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public Internet: not loopback, private or for a special use."""
    ip = ip_address(address.partition("%")[0])
    return _is_public_v4(ip) if isinstance(ip, IPv4Address) else _is_public_v6(ip)


def _is_public_v4(ip: IPv4Address) -> bool:
    return ip.is_global and not ip.is_multicast and ip not in _RELAYS


def _is_public_v6(ip: IPv6Address) -> bool:
    if ip in _MAPPED or ip in _NAT64:  # packets are sent to the embedded IPv4 address
        return _is_public_v4(IPv4Address(int(ip) & 0xFFFFFFFF))
    return ip in _GLOBAL and ip.is_global and not any(ip in tunnel for tunnel in _TUNNELS)


def _is_named(host: str, allowed: Sequence[str]) -> bool:
    entries = [entry.strip("[]").rstrip(".").lower() for entry in allowed if entry != ANY]
    return any(host.endswith(entry[1:]) if entry.startswith("*.") else host == entry for entry in entries)


def _may_be_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:  # a name, whose addresses are checked in `resolve`
        return "." in host and not host.endswith(_PRIVATE_NAMES)


def _check_bucket(address: Address, limits: ReadLimits) -> None:
    # Buckets are read with this machine's credentials, so API clients may only use buckets listed by name.
    any_bucket = not limits.from_outside and ANY in limits.allowed_hosts
    if address.host not in limits.allowed_hosts and not any_bucket:
        raise HostNotAllowed(f"{address.host} is not an allowed bucket; add it to limits.allowed_hosts to allow it")
    if limits.from_outside and limits.state is not None and _is_below(address, limits.state):
        raise HostNotAllowed("API clients may not read the service's own state; store videos and catalogs elsewhere")


def _is_below(address: Address, root: str) -> bool:
    """Return whether an object is at or below a storage root, in any spelling of the two."""
    if scheme_of(root) in {"", "file"}:
        return False
    bucket, _, prefix = root.partition("://")[2].partition("?")[0].partition("/")
    if bucket.rpartition("@")[2].lower() != address.host.lower():
        return False
    parts = _segments(prefix)
    return _segments(address.target)[: len(parts)] == parts


def _segments(key: str) -> list[str]:
    """Split a key as the most lenient server might: percent-decoded, lower case, without `//`, `.` and `..`."""
    while (decoded := unquote(key)) != key:
        key = decoded
    parts: list[str] = []
    for part in re.split(r"[/\\]+", key.lower()):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."}:
            parts.append(part)
    return parts
