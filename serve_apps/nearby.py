"""Checks that a request without a key comes from this machine: not through a proxy, not from a page of another site."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import Scope

from rayreel.access.config import is_loopback
from serve_apps.identified import Headers

# Headers that proxies, tunnels and content delivery networks add to requests. Ray's own HAProxy adds none of them,
# except `Via` to HTTP/1.0 (see compat/haproxy.py).
_FORWARDED = {
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"x-real-host",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-original-forwarded-for",
    b"x-original-host",
    b"x-original-url",
    b"x-original-proto",
    b"x-originating-ip",
    b"x-remote-ip",
    b"x-remote-addr",
    b"x-rewrite-url",
    b"x-host",
    b"x-scheme",
    b"x-proxyuser-ip",
    b"x-arr-log-id",
    b"x-arr-ssl",
    b"true-client-ip",
    b"fastly-client-ip",
    b"fly-client-ip",
    b"client-ip",
    b"cdn-loop",
    b"max-forwards",
    b"front-end-https",
}
_FORWARDED_FAMILIES = (b"x-forwarded", b"cf-", b"x-envoy-", b"x-azure-", b"x-appengine-", b"x-vercel-", b"tailscale-")
_SAFE_METHODS = {"GET", "HEAD"}


def forwarded_by(connection: Scope) -> str | None:
    """Return the sign that a proxy forwarded the request; None without one. Some proxies leave no sign."""
    for name, _ in connection["headers"]:
        if name in _FORWARDED or name.startswith(_FORWARDED_FAMILIES):
            return f"the header {name.decode('latin-1')}"
    # Only proxies still use it: nginx does by default, and adds no header.
    return "HTTP/1.0" if connection.get("http_version") == "1.0" else None


def is_for_this_machine(headers: Headers) -> bool:
    """Whether the Host header is a loopback address, localhost or a name without a dot, which cannot be registered.

    The owner of a name with a dot could point it at this machine to attack its browsers (DNS rebinding). Any other
    address is that of a proxy.
    """
    name = dict(headers).get(b"host", b"").decode("latin-1").strip().lower()
    if name.startswith("["):
        address, _, port = name.partition("]")
        return is_loopback(address[1:]) and (port == "" or port.startswith(":"))
    name = name.partition(":")[0].rstrip(".")
    return "." not in name or name.endswith(".localhost") or is_loopback(name)


def is_from_another_site(connection: Scope, origins: Collection[bytes]) -> bool:
    """Whether a page of another site sent a request that may change something. `origins` are allowed to.

    Browsers send Sec-Fetch-Site; older ones only the page, in Origin or Referer.
    """
    if connection["method"] in _SAFE_METHODS:
        return False
    headers = dict(connection["headers"])
    page = headers.get(b"origin", headers.get(b"referer"))
    if page in origins or (page is not None and _origin(page) in origins):
        return False
    if headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin", b"same-site"}:
        return True
    return page is not None and not _is_of_this_machine(page)


def _origin(page: bytes) -> bytes:
    return b"/".join(page.split(b"/")[:3])


def _is_of_this_machine(page: bytes) -> bool:
    try:
        host = urlsplit(page.decode("latin-1")).hostname or ""
    except ValueError:
        return False
    return is_loopback(host) or host.endswith(".localhost")
