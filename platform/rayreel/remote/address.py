"""An address taken apart once and strictly: the parts that were checked are the parts that are asked for."""

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
# What the C library and browsers read as a number: 127.1, 2130706433, 0x7f.1, 0177.0.0.1.
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Longer than any signed address; S3 and Cloud Storage take keys of at most 1024 bytes.
_LONGEST, _LONGEST_KEY = 8192, 1024
# What RFC 3986 allows in a path and a query, and % for what is encoded already.
_TARGET = "%/?:@!$&'()*+,;=-._~"


class BadAddress(ValueError):
    """An address that is not written in the one plain way; a ValueError, which another try does not mend."""


@dataclass(frozen=True, slots=True)
class Address:
    """A remote address: `host` is a name in ASCII, an IP address in its plain form or a bucket; `target` the rest.

    For http(s) `target` is path and query, encoded; for buckets it is the object's key.
    """

    scheme: str
    host: str
    port: int
    target: str
    credentials: str = ""

    @property
    def netloc(self) -> str:
        """Host and port as a Host header names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme, 0) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address without its credentials."""
        return f"{self.scheme}://{self.netloc}{self.target}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials belong to."""
        return self.scheme, self.host, self.port


def scheme_of(uri: str) -> str:
    """The scheme of `scheme://…` in lower case; empty where there is none."""
    found = _SCHEME.fullmatch(uri)
    return found[1].lower() if found else ""


def parse_address(uri: str) -> Address:
    """Take apart an http, https, s3 or gs address. Raises BadAddress where two readers could read it differently."""
    found = _SCHEME.fullmatch(uri)
    scheme, rest = (found[1].lower(), found[2]) if found else ("", "")
    if len(uri) > _LONGEST or (scheme in BUCKETS and len(rest.partition("/")[2].encode()) > _LONGEST_KEY):
        raise BadAddress(f"{redacted(uri[:80])}…: longer than an address may be")
    if _CONTROL.search(uri):
        raise BadAddress(f"{redacted(_CONTROL.sub('…', uri))}: an address holds no control characters")
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
    """A host in the one form in which it is checked and asked: a name in lower-case ASCII or a plain IP address.

    Raises BadAddress for IP addresses in other forms (127.1, 2130706433, 0x7f.1, 0177.0.0.1, fullwidth digits, with a
    zone or a final dot).
    """
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1] if host.endswith("]") and "%" not in host else ""))
        name = (host if host.isascii() else _ascii(host)).lower()
        if _ENDS_IN_A_NUMBER.fullmatch(name.rstrip(".")):
            return str(IPv4Address(name))
    except AddressValueError:
        raise BadAddress(f"{host} is no plain IP address; write it like 192.0.2.1 or [2001:db8::1]") from None
    name = name.removesuffix(".")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise BadAddress(f"{host} is no host name")
    return name


def _ascii(host: str) -> str:
    """An international name as IDNA 2008 writes it; it takes no look-alikes such as fullwidth digits or dots."""
    try:
        return ".".join(idna.alabel(label).decode() for label in host.removesuffix(".").split("."))
    except idna.IDNAError:
        raise BadAddress(f"{host} is no host name that IDNA allows; write it with xn--") from None
