"""Strict parsing of URLs, done once, so that the host that is checked is the host that is contacted."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote

import idna

from rayreel.redact import redacted

BUCKETS = ("s3", "gs")
_PORTS = {"https": 443, "http": 80}
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://(.*)", re.DOTALL)
_HTTP = re.compile(
    r"(?:(?P<user>[^@/\\?#\s]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s@/\\?#:%\[\]]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][^#]*)?(?:#.*)?"
)
_BUCKET = re.compile(r"(?P<host>[A-Za-z0-9][A-Za-z0-9._-]{1,221}[A-Za-z0-9])/(?P<target>.+)")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# The C library and browsers read these as IP addresses: 127.1, 2130706433, 0x7f.1, 0177.0.0.1.
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# More than any signed URL needs; S3 and Cloud Storage keys have at most 1024 bytes.
_MAX_LENGTH, _MAX_KEY_BYTES = 8192, 1024
# The characters that RFC 3986 allows in a path and a query, and % for those already encoded.
_TARGET = "%/?:@!$&'()*+,;=-._~"


class BadAddress(ValueError):
    """The URL is invalid or ambiguous. A ValueError, so it is not retried."""


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL. `host` is an ASCII host name, a canonical IP address or a bucket.

    `target` is the encoded path and query of an http(s) URL, or the object's key in a bucket.
    """

    scheme: str
    host: str
    port: int
    target: str
    credentials: str = ""

    @property
    def netloc(self) -> str:
        """The value of the Host header; the port is omitted if it is the default one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme, 0) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL without credentials."""
        return f"{self.scheme}://{self.netloc}{self.target}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port, to which credentials are sent."""
        return self.scheme, self.host, self.port


def scheme_of(uri: str) -> str:
    """Return the scheme of `scheme://…` in lower case, or "" if there is none."""
    found = _SCHEME.fullmatch(uri)
    return found[1].lower() if found else ""


def parse_address(uri: str) -> Address:
    """Parse an http, https, s3 or gs URL. Raises BadAddress if different software could read it differently."""
    found = _SCHEME.fullmatch(uri)
    scheme, rest = (found[1].lower(), found[2]) if found else ("", "")
    if len(uri) > _MAX_LENGTH or (scheme in BUCKETS and len(rest.partition("/")[2].encode()) > _MAX_KEY_BYTES):
        raise BadAddress(f"{redacted(uri[:80])}…: too long ({_MAX_LENGTH} characters, {_MAX_KEY_BYTES} bytes in a key)")
    if _CONTROL.search(uri):
        raise BadAddress(f"{redacted(_CONTROL.sub('…', uri))}: control characters are not allowed")
    if scheme in BUCKETS:
        if not (parts := _BUCKET.fullmatch(rest)):
            raise BadAddress(f"{redacted(uri)}: expected {scheme}://bucket/key")
        return Address(scheme, parts["host"], 0, parts["target"])
    parts = _HTTP.fullmatch(rest) if scheme in _PORTS else None
    if parts is None or not 0 < int(parts["port"] or 1) < 65536:
        raise BadAddress(f"{redacted(uri)}: expected https://host/path")
    target = quote(parts["target"] or "/", safe=_TARGET)
    target = target if target.startswith("/") else f"/{target}"
    return Address(scheme, plain_host(parts["host"]), int(parts["port"] or _PORTS[scheme]), target, parts["user"] or "")


def plain_host(host: str) -> str:
    """Return the canonical form of a host: a lower-case ASCII name or an IP address in standard notation.

    Raises BadAddress for invalid names and for IP addresses in other notations (127.1, 2130706433, 0x7f.1, 0177.0.0.1,
    fullwidth digits, with a zone or a trailing dot).
    """
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1] if host.endswith("]") and "%" not in host else ""))
        name = (host if host.isascii() else _ascii(host)).lower()
        if _ENDS_IN_A_NUMBER.fullmatch(name.rstrip(".")):
            return str(IPv4Address(name))
    except AddressValueError:
        raise BadAddress(f"{host} is not an IP address in standard form, such as 192.0.2.1 or [2001:db8::1]") from None
    name = name.removesuffix(".")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise BadAddress(f"{host} is not a valid host name")
    return name


def _ascii(host: str) -> str:
    """Encode an international name with IDNA 2008, which rejects look-alikes such as fullwidth digits or dots."""
    try:
        return ".".join(idna.alabel(label).decode() for label in host.removesuffix(".").split("."))
    except idna.IDNAError:
        raise BadAddress(f"{host} is not a valid IDNA 2008 host name; write it in its xn-- form") from None
