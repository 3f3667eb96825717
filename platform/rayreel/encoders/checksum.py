"""The sha256 of a file, recomputed only when the file changes."""

import hashlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


def sha256_of(path: Path, memo_dir: Path) -> str:
    """Return the hex sha256 of `path`.

    The result is cached in `memo_dir` under the file's inode, size and modification time, not next to the file: a
    weights folder may be read-only or belong to another tool, and a rename must not cost a second pass over 440 MB.
    """
    stat = path.stat()
    memo = memo_dir / f"{stat.st_dev:x}-{stat.st_ino:x}-{stat.st_size:x}-{stat.st_mtime_ns:x}"
    if memo.exists():
        return memo.read_text()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        memo_dir.mkdir(parents=True, exist_ok=True)
        part = memo.with_name(f"{memo.name}.{os.getpid()}")
        part.write_text(digest)
        part.replace(memo)
    except OSError as error:
        # Weights in a container image with a read-only root file system: every start computes it again.
        log.debug("cannot cache a checksum at %s: %s", memo, error)
    return digest
