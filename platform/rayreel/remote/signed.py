"""Addresses at which a browser can read a remote video itself."""

from typing import Any

from rayreel.redact import public_address
from rayreel.remote.address import BUCKETS, parse_address, scheme_of

SIGNED_S = 3600


def browser_address(uri: str) -> str | None:
    """Return a URL for browsers: of an object in a bucket a signed one, for an hour; None if there is none to give.

    URLs with credentials or a query string are not given away. Blocks: signing may need the network.
    """
    if scheme_of(uri) not in BUCKETS:
        return uri if scheme_of(uri) == "https" and public_address(uri) == uri else None
    import fsspec

    address = parse_address(uri)
    try:
        files: Any = fsspec.filesystem(address.scheme)
        return str(files.sign(f"{address.host}/{address.target}", expiration=SIGNED_S))
    except (ImportError, NotImplementedError, OSError, AttributeError):  # no s3fs or gcsfs, or no credentials
        return None
