"""Atomic create-if-absent on a storage root: the primitive that leases are built on."""

import errno
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import fsspec

from rayreel.errors import RayreelError
from rayreel.redact import redacted
from rayreel.storage import Storage

# How fsspec's file systems report that an object exists already or is being written by another request.
_CONFLICT_ERRNO = errno.EINVAL
_CONFLICT_STATUS = (409, 412)
_CONFLICT_WORDS = ("PreconditionFailed", "ConditionalRequestConflict")


class NoExclusiveWrites(RayreelError):
    """The storage root does not support conditional writes."""


def create(storage: Storage, path: str, content: bytes) -> bool:
    """Write a file if none exists; returns whether this call wrote it. Of concurrent calls exactly one succeeds.

    Uses `O_EXCL` in a folder, `If-None-Match: *` on S3 and `ifGenerationMatch=0` on Google Cloud Storage. In a folder,
    readers may see the file before its content. Raises NoExclusiveWrites if the storage has no conditional writes.
    """
    if storage.is_local:
        return _create_local(Path(path), content)
    try:
        _fsspec_of(storage).pipe_file(path, content, mode="create")
    except Exception as error:
        if not _is_conflict(error):
            raise
        # The client may have retried a request that had succeeded: then the object is its own.
        return storage.read(path) == content
    return True


def prove_exclusive(storage: Storage, path: str) -> None:
    """Check that the existing file `path` cannot be created again. Folders need no check. Raises NoExclusiveWrites."""
    if not storage.is_local and create(storage, path, b"{}"):
        storage.filesystem.delete_file(path)
        raise NoExclusiveWrites(
            f"The object store of {redacted(storage.root)} ignores conditional writes (If-None-Match), which leases "
            "need to exclude concurrent promotions. Use one that supports them: AWS S3, Google Cloud Storage or MinIO."
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
    """The storage root as an fsspec file system: pyarrow, used everywhere else, has no conditional writes.

    The endpoint comes from the query of the root's URI, which is in pyarrow's format. Both libraries read the AWS_*
    environment variables.
    """
    parts = urlsplit(storage.root)
    options = _s3_options(storage.root) if parts.scheme == "s3" else {}
    try:
        return fsspec.filesystem(parts.scheme, **options)
    except ImportError as error:
        raise NoExclusiveWrites(
            f"{error}. Promotion on a {parts.scheme}:// storage root needs this package: pip install 'rayreel[s3]' or "
            "'rayreel[gcs]'."
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
