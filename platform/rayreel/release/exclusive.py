"""Create a file only where there is none: the one step of a storage that processes can race for."""

import errno
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import fsspec

from rayreel.errors import RayreelError
from rayreel.storage import Storage

# What object stores answer when the object is there, or is being written just now, as fsspec's file systems raise it.
_CONFLICT_ERRNO = errno.EINVAL
_CONFLICT_STATUS = (409, 412)
_CONFLICT_WORDS = ("PreconditionFailed", "ConditionalRequestConflict")


class NoExclusiveWrites(RayreelError):
    """The storage cannot keep two processes apart."""


def create(storage: Storage, path: str, content: bytes) -> bool:
    """Write a file unless there is one; returns whether this call wrote it. Of several at once exactly one succeeds.

    A folder: `O_EXCL`. S3: `If-None-Match: *`. Google Cloud Storage: `ifGenerationMatch=0`. Readers of a folder may see
    the file before its content. Raises NoExclusiveWrites where the storage has no such write.
    """
    if storage.is_local:
        return _create_local(Path(path), content)
    try:
        _fsspec_of(storage).pipe_file(path, content, mode="create")
    except Exception as error:
        if not _is_conflict(error):
            raise
        # A request that was sent twice may have met its own object.
        return storage.read(path) == content
    return True


def prove_exclusive(storage: Storage, path: str) -> None:
    """Create a file that is there once more. Raises NoExclusiveWrites where that succeeds; a folder needs no proof."""
    if not storage.is_local and create(storage, path, b"{}"):
        storage.filesystem.delete_file(path)
        raise NoExclusiveWrites(
            "The object store of the storage root ignores conditional writes (If-None-Match), without which two "
            "promotions cannot be kept apart. Use one that supports them: AWS S3, Google Cloud Storage or MinIO."
        )


def _create_local(path: Path, content: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _is_conflict(error: Exception) -> bool:
    if isinstance(error, FileExistsError) or getattr(error, "code", None) in _CONFLICT_STATUS:
        return True
    return isinstance(error, OSError) and (
        error.errno == _CONFLICT_ERRNO or any(word in str(error) for word in _CONFLICT_WORDS)
    )


def _fsspec_of(storage: Storage) -> Any:  # noqa: ANN401 - fsspec has no types
    """The storage root for fsspec; pyarrow, which reads and writes everything else, knows no conditions.

    The root's query names the endpoint as pyarrow understands it, and so do the environment's AWS_ variables for both.
    """
    parts = urlsplit(storage.root)
    options = _s3_options(storage.root) if parts.scheme == "s3" else {}
    try:
        return fsspec.filesystem(parts.scheme, **options)
    except ImportError as error:
        raise NoExclusiveWrites(
            f"{error}. Promoting on a {parts.scheme}:// storage needs it: pip install 'rayreel[s3]' or 'rayreel[gcs]'."
        ) from error


def _s3_options(root: str) -> dict[str, Any]:
    parts = urlsplit(root)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    options: dict[str, Any] = {"client_kwargs": {}, "use_listings_cache": False}
    if endpoint := query.get("endpoint_override"):
        address = endpoint if "://" in endpoint else f"{query.get('scheme', 'https')}://{endpoint}"
        options["endpoint_url"] = address
    if region := query.get("region"):
        options["client_kwargs"]["region_name"] = region
    if parts.username and parts.password:
        options |= {"key": unquote(parts.username), "secret": unquote(parts.password)}
    return options
