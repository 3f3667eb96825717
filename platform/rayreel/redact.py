"""Remove secrets in URLs from texts."""

import re

# A URL ends at white space, or at quotes and brackets around it. Every pattern runs in linear time: texts may come from
# an untrusted catalog.
_ADDRESS = re.compile(r"(?P<mark>[A-Za-z][A-Za-z0-9+.-]{0,31}:[/\\]{2,}|(?<![\w/.:-])//)(?P<rest>[^\s\"'<>`]*)")
# White space within a URL cuts it short; the rest is still recognised as a query string.
_QUERY = re.compile(r"(?P<mark>[?#&])[^\s\"'<>`?#&=]*=[^\s\"'<>`]*")
# Punctuation of the sentence after a URL.
_PUNCTUATION = ".,:;)]"


def redacted(text: str) -> str:
    """Return a text with user, password, query string and fragment removed from its URLs.

    Used for errors, logs, quarantine details, tables and responses. A query becomes `?…`, a fragment `#…`.

    >>> redacted("GET https://ann:secret@host.example/a.mp4?sig=secret: 403.")
    'GET https://host.example/a.mp4?…: 403.'
    """
    if "/" not in text and "=" not in text:
        return text
    return _QUERY.sub(r"\g<mark>…", _ADDRESS.sub(_without_secrets, text))


def public_address(uri: str) -> str:
    """Return a URL for display, without credentials, query string and fragment. A local path is unchanged.

    >>> public_address("s3://key:secret@bucket/a.mp4?region=eu"), public_address("films/a.mp4?x#y")
    ('s3://bucket/a.mp4', 'films/a.mp4?x#y')
    """
    return redacted(uri).partition("?")[0].partition("#")[0] if "://" in uri else uri


def _without_secrets(found: re.Match[str]) -> str:
    rest = found["rest"]
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        rest = authority.rpartition("@")[2] + slash + path
    elif "@" in path and ":" in authority and not authority.rpartition(":")[2].isdigit():
        # A password containing a slash: not a valid URL, but still a secret.
        rest = path.rpartition("@")[2]
    if (cut := re.search(r"[?#]", rest)) and (tail := rest[cut.end() :]):
        rest = rest[: cut.end()] + "…" + tail[len(tail.rstrip(_PUNCTUATION)) :]
    return found["mark"] + rest
