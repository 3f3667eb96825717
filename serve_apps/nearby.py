"""Whether a request without a key comes from this machine: no proxy in between, no page of another site."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import Scope

from rayreel.access.config import is_loopback
from serve_apps.identified import Headers

# What proxies, tunnels and content networks write on requests that they pass on. Ray's own HAProxy writes none of
# them, but for `Via` on HTTP/1.0 (see serve_apps/haproxy).
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
_CHANGES_NOTHING = {"GET", "HEAD"}


def forwarded_by(connection: Scope) -> str | None:
    """The sign that a proxy passed a request on; None where there is none. A proxy that leaves none is not noticed."""
    for name, _ in connection["headers"]:
        if name in _FORWARDED or name.startswith(_FORWARDED_FAMILIES):
            return f"the header {name.decode('latin-1')}"
    # Proxies are the last to speak it: nginx does unless it is told otherwise, and adds no header at all.
    return "HTTP/1.0" if connection.get("http_version") == "1.0" else None


def is_for_this_machine(headers: Headers) -> bool:
    """Whether a request names this machine: a loopback address, localhost or a bare name, which nobody else can own.

    Names with a dot belong to somebody, who may let them lead here for browsers (DNS rebinding); other addresses are
    those of a proxy.
    """
    name = dict(headers).get(b"host", b"").decode("latin-1").strip().lower()
    if name.startswith("["):
        address, _, port = name.partition("]")
        return is_loopback(address[1:]) and (port == "" or port.startswith(":"))
    name = name.partition(":")[0].rstrip(".")
    return "." not in name or name.endswith(".localhost") or is_loopback(name)


def is_from_another_site(connection: Scope, origins: Collection[bytes]) -> bool:
    """Whether a page of another site sent a request that may change something; `origins` may.

    Browsers say so in Sec-Fetch-Site; older ones only name the page, in Origin or in Referer.
    """
    if connection["method"] in _CHANGES_NOTHING:
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
