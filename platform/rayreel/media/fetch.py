"""A video's bytes on this machine's disk, wherever they live."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from rayreel.failures import Reason, Rejected
from rayreel.media.config import Limits


@contextmanager
def local_copy(uri: str, limits: Limits) -> Iterator[Path | Rejected]:
    """A local path with the content of `uri`; a remote one is copied to a temporary file for the time of the block."""
    if "://" not in uri or uri.startswith("file://"):
        yield Path(uri.removeprefix("file://"))
        return
    with tempfile.NamedTemporaryFile(prefix="rayreel-", suffix=Path(uri).suffix) as file:
        problem = _download(uri, Path(file.name), limits)
        yield problem or Path(file.name)


def _download(uri: str, path: Path, limits: Limits) -> Rejected | None:
    try:
        with fsspec.open(uri, "rb") as remote, path.open("wb") as local:
            size = getattr(remote, "size", None)
            if size is not None and size > limits.max_bytes:
                return Rejected(Reason.TOO_LARGE, f"{uri}: {size:,} bytes; the limit is {limits.max_bytes:,}")
            shutil.copyfileobj(remote, local, 1 << 20)
    except FileNotFoundError:
        return Rejected(Reason.MISSING_FILE, f"{uri}: no such object")
    except ImportError as error:
        return Rejected(Reason.UNREACHABLE, f"{uri}: {error}; install rayreel[s3] or rayreel[gcs]")
    except Exception as error:  # noqa: BLE001 - every file system has its own exceptions; all mean the same here
        return Rejected(Reason.UNREACHABLE, f"{uri}: {type(error).__name__}: {error}")
    return None
