"""What tells that a video has changed, without reading it."""

import hashlib
from contextlib import suppress
from pathlib import Path

from rayreel.catalog.video import CatalogVideo


def version_of(video: CatalogVideo) -> str:
    """Changes when the catalog row changes or, for a local file, its size or time of change (16 hex digits).

    A file that is gone by now counts as its row alone; decoding says what is wrong with it.
    """
    digest = hashlib.blake2b(video.fingerprint().encode(), digest_size=8)
    if "://" not in video.uri:
        with suppress(OSError):
            stat = Path(video.uri).stat()
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()
