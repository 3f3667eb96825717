"""Detect changed videos without reading them."""

import hashlib
from contextlib import suppress
from pathlib import Path

from rayreel.catalog.video import CatalogVideo

_SPOKEN, _ENRICHED = ".", "+"


def spoken_version(version: str, speech_key: str) -> str:
    """Return the version of a row whose speech was recognised: other transcripts are another row."""
    return f"{base_of(version)}{_SPOKEN}{hashlib.blake2b(speech_key.encode(), digest_size=4).hexdigest()}"


def enriched_version(version: str, key: str) -> str:
    """Return the version of a row with a language model's answer: another answer is another row."""
    return f"{plain_of(version)}{_ENRICHED}{hashlib.blake2b(key.encode(), digest_size=4).hexdigest()}"


def plain_of(version: str) -> str:
    """Return the version without a language model's answer."""
    return version.partition(_ENRICHED)[0]


def base_of(version: str) -> str:
    """Return the version without how its speech was recognised and without a language model's answer."""
    return plain_of(version).partition(_SPOKEN)[0]


def version_of(video: CatalogVideo) -> str:
    """Return a digest of the catalog row and, for a local file, its size and modification time (16 hex digits).

    A missing file is identified by its row alone; decoding reports the error.
    """
    digest = hashlib.blake2b(video.fingerprint().encode(), digest_size=8)
    if video.uri and "://" not in video.uri:
        with suppress(OSError):
            stat = Path(video.uri).stat()
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()
