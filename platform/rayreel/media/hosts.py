"""Which machines an address may lead to, also by its name, by a redirect and by a name that resolves inwards."""

import socket
from collections.abc import Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.request import getproxies

# Every host whose addresses are public; a host that is named may be anywhere.
ANY = "*"
_INSIDE = "{host} is inside a private network; add it to limits.allowed_hosts if it may be"
_NAT64 = IPv6Network("64:ff9b::/96")


class HostNotAllowed(ValueError):
    """A host that may not be asked; a ValueError, which is lasting: nothing is tried again."""


def check_host(host: str, allowed: Sequence[str]) -> None:
    """Raise HostNotAllowed for a host, or bucket, that no entry of `limits.allowed_hosts` lets in.

    An entry is a name, `*.example.com` for all below one, or `*`. Of names that `*` lets in, `PublicResolver` checks
    the addresses; an address in place of a name is checked here, for nothing will resolve it.
    """
    host = host.rstrip(".").lower()
    if not _is_named(host, allowed) and (ANY not in allowed or not _may_be_public(host)):
        raise HostNotAllowed(f"{host} is not a host that may be asked; add it to limits.allowed_hosts if it should be")


def check_addresses(host: str, allowed: Sequence[str]) -> None:
    """Raise HostNotAllowed for a host that is not named and has a private address, or no address at all."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise HostNotAllowed(f"{host} cannot be resolved") from None
    if not _is_named(host, allowed) and not all(is_public(str(one[4][0])) for one in found):
        raise HostNotAllowed(_INSIDE.format(host=host))


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the Internet at large: not to this machine, its networks or a special use."""
    return _is_public(ip_address(address.partition("%")[0]))


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    inner = _embedded(ip) if isinstance(ip, IPv6Address) else None
    return _is_public(inner) if inner is not None else ip.is_global and not ip.is_multicast


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to an IPv6 one end at: mapped, 6to4, NAT64."""
    nat64 = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
    return ip.ipv4_mapped or ip.sixtofour or nat64


def _is_named(host: str, allowed: Sequence[str]) -> bool:
    host = host.rstrip(".").lower()
    entries = [entry.rstrip(".").lower() for entry in allowed if entry != ANY]
    return any(host.endswith(entry[1:]) if entry.startswith("*.") else host == entry for entry in entries)


def _may_be_public(host: str) -> bool:
    try:
        return is_public(host.strip("[]"))
    except ValueError:  # a name: its addresses will tell
        return host != ""


async def guarded_session(loop: Any, allowed: Sequence[str], **options: Any) -> Any:  # noqa: ANN401 - aiohttp's
    """An aiohttp session that asks only hosts of `allowed`, wherever redirects and name servers send it."""
    from aiohttp import ClientSession, TCPConnector, TraceConfig

    trace = TraceConfig()
    trace.on_request_start.append(_checking(allowed))
    trace.on_request_redirect.append(_checking_redirect(allowed))
    traces = [trace, *options.pop("trace_configs", ())]
    connector = TCPConnector(resolver=_resolver()(allowed), loop=loop)
    return ClientSession(loop=loop, connector=connector, trace_configs=traces, **options)


def _checking(allowed: Sequence[str]) -> Any:  # noqa: ANN401 - aiohttp's signature
    async def check(_session: Any, _context: Any, params: Any) -> None:  # noqa: ANN401
        check_host(params.url.raw_host or "", allowed)

    return check


def _checking_redirect(allowed: Sequence[str]) -> Any:  # noqa: ANN401 - aiohttp's signature
    async def check(_session: Any, _context: Any, params: Any) -> None:  # noqa: ANN401
        from yarl import URL

        headers = params.response.headers
        target = params.url.join(URL(headers.get("Location") or headers.get("URI") or ""))
        check_host(target.raw_host or "", allowed)

    return check


@cache
def _resolver() -> Any:  # noqa: ANN401 - aiohttp takes a second to import, and not every process needs it
    from aiohttp.abc import AbstractResolver, ResolveResult
    from aiohttp.resolver import ThreadedResolver
    from yarl import URL

    class PublicResolver(AbstractResolver):
        """Gives only public addresses of hosts that are not named. What it gives is what is dialled: no second look."""

        def __init__(self, allowed: Sequence[str]) -> None:
            self._names, self._allowed = ThreadedResolver(), allowed

        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:  # noqa: ANN401
            found = await self._names.resolve(host, port, family)
            # The proxy of this machine's own settings; where it leads is its rules' affair.
            proxies = {URL(proxy).raw_host for proxy in getproxies().values()}
            if host in proxies or _is_named(host, self._allowed):
                return found
            public = [one for one in found if is_public(one["host"])]
            if not public:
                raise HostNotAllowed(_INSIDE.format(host=host))
            return public

        async def close(self) -> None:
            await self._names.close()

    return PublicResolver
