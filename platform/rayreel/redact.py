"""Texts without the secrets that addresses in them may hold."""

import re

# An address ends at white space or at the quotes and brackets that a message puts around it. Every pattern takes time
# in proportion to the text, which may be a catalog's and made to be slow.
_ADDRESS = re.compile(r"(?P<mark>[A-Za-z][A-Za-z0-9+.-]{0,31}:[/\\]{2,}|(?<![\w/.:-])//)(?P<rest>[^\s\"'<>`]*)")
# White space within an address ends it too soon; what follows still looks like a query.
_QUERY = re.compile(r"(?P<mark>[?#&])[^\s\"'<>`?#&=]*=[^\s\"'<>`]*")
# The sentence may go on after the address.
_PUNCTUATION = ".,:;)]"


def redacted(text: str) -> str:
    """A text whose addresses name no user, no password, no query string and no fragment.

    The one function for errors, logs, quarantine details, tables and answers. A query becomes `?…`, a fragment `#…`.
    """
    if "/" not in text and "=" not in text:
        return text
    return _QUERY.sub(r"\g<mark>…", _ADDRESS.sub(_without_secrets, text))


def public_address(uri: str) -> str:
    """An address to show: without credentials, query string and fragment. A path of this machine stays as it is."""
    return redacted(uri).partition("?")[0].partition("#")[0] if "://" in uri else uri


def _without_secrets(found: re.Match[str]) -> str:
    rest = found["rest"]
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        rest = authority.rpartition("@")[2] + slash + path
    elif "@" in path and ":" in authority and not authority.rpartition(":")[2].isdigit():
        # A password with a slash in it: no valid address, and a secret all the same.
        rest = path.rpartition("@")[2]
    if (cut := re.search(r"[?#]", rest)) and (tail := rest[cut.end() :]):
        rest = rest[: cut.end()] + "…" + tail[len(tail.rstrip(_PUNCTUATION)) :]
    return found["mark"] + rest
