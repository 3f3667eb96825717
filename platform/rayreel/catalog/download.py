"""Download the files of data sets: resumes interrupted downloads and verifies files before they get their name."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Self
from urllib.parse import unquote, urlsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter
from tenacity.stop import stop_base

from rayreel.catalog.resume import Part
from rayreel.catalog.sums import Sums
from rayreel.errors import RayreelError
from rayreel.redact import public_address
from rayreel.remote.address import BadAddress
from rayreel.remote.hosts import ANY, HostNotAllowed, check_host

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the total, which is None if the server does not send it."""

_CONNECT_S, _READ_S, _MAX_PAUSE_S = 10, 30, 20
_ATTEMPTS = 4
_PROGRESS_BYTES = 1 << 20
_RETRYABLE = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class DownloadFailed(RayreelError):
    """A file could not be downloaded; the message explains why and how to download it manually."""


class NotThere(DownloadFailed):
    """The server does not have the file: HTTP 404 or 410, or a web page instead of the file."""


class WrongFile(DownloadFailed):
    """A file has an unexpected size or sha256."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on the web. `sha256` and `size` are unset if not published; `page` is a web page about the file."""

    url: str
    sha256: str = ""
    size: int | None = None
    page: str = ""

    @property
    def name(self) -> str:
        """The file name: the last part of the URL's path."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name

    @property
    def host(self) -> str:
        """The host of the URL."""
        return urlsplit(self.url).hostname or self.url


class Downloads:
    """Downloads files into a folder; a file gets its name once it is complete and verified.

    Until then it is called `<name>.part`, which the next attempt or run resumes. Files are verified with their
    published sha256. Without one, the first download is trusted and its sha256 recorded (see `Sums`).
    """

    def __init__(self, folder: Path, pause_s: float = 0.5) -> None:
        """Create `folder`. `pause_s` is the pause before the first retry, doubled for each further one."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DownloadFailed(f"{folder} cannot be created: {error.strerror}. Choose another folder.") from error
        self.folder, self._pause_s = folder, pause_s
        self._sums = Sums(folder)
        timeout = httpx.Timeout(_READ_S, connect=_CONNECT_S)
        # Compressed responses have neither the file's length nor its byte ranges.
        headers = {"Accept-Encoding": "identity"}
        hooks = {"response": [_check_redirect]}
        self._client = httpx.Client(timeout=timeout, follow_redirects=True, headers=headers, event_hooks=hooks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def fetch(self, file: RemoteFile, progress: Progress = lambda _bytes, _all: None) -> Path:
        """Download a file, or verify an existing one, and return its path.

        Raises NotThere, WrongFile or DownloadFailed.
        """
        path = self.folder / file.name
        if path.exists():
            if mismatch := self._mismatch(path, file):
                other = "" if file.sha256 else f", or delete its line in {self._sums.path} if the file is correct"
                raise WrongFile(f"{path}: {mismatch}. Delete the file to download it again{other}.")
            return path
        try:
            with Part(path) as part:
                self._receive(file, part, progress)
                part.finish()
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise _failure(file, path, error) from error
        return path

    def fetch_all(
        self, files: Sequence[RemoteFile], at_once: int = 4, done: Callable[[], None] = lambda: None
    ) -> list[RemoteFile]:
        """Fetch many files, call `done` after each, and return those that the server does not have.

        Any other failure is raised immediately: if one file cannot be fetched, the others are likely to fail too.
        """
        absent = []
        with ThreadPoolExecutor(at_once) as pool:
            file_of = {pool.submit(self.fetch, file): file for file in files}
            try:
                for fetched in as_completed(file_of):
                    if isinstance(error := fetched.exception(), NotThere):
                        absent.append(file_of[fetched])
                    elif error is not None:
                        raise error
                    done()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return absent

    def _receive(self, file: RemoteFile, part: Part, progress: Progress) -> None:
        """Download and verify the partial file. If it was resumed and is wrong, download it once more from zero."""
        for last in (False, True):
            retrying = Retrying(
                stop=_NoProgress(part),
                wait=wait_exponential_jitter(self._pause_s, _MAX_PAUSE_S, jitter=self._pause_s),
                retry=retry_if_exception(_is_retryable),
                reraise=True,
            )
            retrying(self._attempt, file, part, progress)
            part.flush()
            if not (mismatch := self._mismatch(part.path, file)):
                return
            resumed = part.resumed
            part.clear()
            if last or not resumed:
                reason = f"{file.host} serves an unexpected {file.name}: {mismatch}"
                raise WrongFile(f"{reason}. {_manual_download(file, part.whole)}")

    def _attempt(self, file: RemoteFile, part: Part, progress: Progress) -> None:
        headers = part.range_headers(checked=bool(file.sha256))
        with self._client.stream("GET", file.url, headers=headers) as response:
            _check_response(file, part, response)
            total = part.begin(response)
            _check_length(file, part, total)
            if part.length != total:
                for piece in response.iter_raw():
                    part.write(piece)
                    progress(part.length, total)
        if total is not None and part.length != total:
            raise httpx.RemoteProtocolError(f"only {part.length:,} of {total:,} bytes received")

    def _mismatch(self, path: Path, file: RemoteFile) -> str:
        """Return how a complete file differs from what was published or recorded, or "" if it does not."""
        if file.size not in {None, size := path.stat().st_size}:
            return f"it has {size:,} bytes, expected {file.size:,}"
        return self._sums.mismatch(path, file.name, file.sha256)


class _NoProgress(stop_base):
    """Stops after several attempts without progress: a long download may be interrupted any number of times."""

    def __init__(self, part: Part) -> None:
        self.part, self.longest, self.attempts = part, part.length, 0

    def __call__(self, retry_state: RetryCallState) -> bool:
        # A server without ranges starts from zero each time; only bytes beyond the longest attempt are progress.
        progressed = self.part.length >= self.longest + _PROGRESS_BYTES
        self.longest = max(self.longest, self.part.length)
        self.attempts = 1 if progressed else self.attempts + 1
        return self.attempts >= _ATTEMPTS


def _check_redirect(response: httpx.Response) -> None:
    """Reject redirects from https to http, and to a different host that is not public, before they are followed."""
    if not response.has_redirect_location:
        return
    target = response.url.join(response.headers["Location"])
    if response.url.scheme == "https" and target.scheme != "https":
        raise httpx.UnsupportedProtocol(f"redirected from https:// to {target.scheme}://{target.host}")
    try:
        check_host(target.host, (ANY, response.url.host))
    except (HostNotAllowed, BadAddress) as error:
        raise httpx.UnsupportedProtocol(f"redirected to a forbidden host: {error}") from None


def _check_response(file: RemoteFile, part: Part, response: httpx.Response) -> None:
    """Raise if a response is an error or a web page instead of the file."""
    if response.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        response.raise_for_status()
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("text/html") and part.whole.suffix not in {".html", ".htm"} and response.is_success:
        reason = f"{file.host} returned a web page instead of {file.name}"
        raise NotThere(f"{reason}. {_manual_download(file, part.whole)}")


def _check_length(file: RemoteFile, part: Part, total: int | None) -> None:
    """Raise before the transfer if the file has the wrong length or does not fit on the disk."""
    if total is None:
        return
    if file.size not in {None, total}:
        reason = f"{file.name} on {file.host} has {total:,} bytes, expected {file.size:,}"
        raise WrongFile(f"{reason}. {_manual_download(file, part.whole)}")
    folder = part.whole.parent
    missing, free = total - part.length, shutil.disk_usage(folder).free
    if missing > free:
        reason = f"{file.name} needs another {missing / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free"
        raise DownloadFailed(f"{reason}. Free disk space or choose another folder.")


def _is_retryable(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error or error.response.status_code in _RETRYABLE
    return isinstance(error, httpx.TransportError) and not (
        isinstance(error, httpx.UnsupportedProtocol) or _untrusted(error)
    )


def _untrusted(error: Exception) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _failure(file: RemoteFile, path: Path, error: Exception) -> DownloadFailed:
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        kind = NotThere if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE} else DownloadFailed
        return kind(f"{file.host} returned HTTP {status} for {file.name}. {_manual_download(file, path)}")
    if isinstance(error, OSError):
        return DownloadFailed(f"{path} cannot be written: {error.strerror}. Free disk space or choose another folder.")
    cause = "its certificate is not trusted" if _untrusted(error) else str(error) or type(error).__name__
    return DownloadFailed(f"{file.name} cannot be fetched from {file.host} ({cause}). {_manual_download(file, path)}")


def _manual_download(file: RemoteFile, path: Path) -> str:
    address = public_address(file.url)
    about = f" (see {file.page})" if file.page else ""
    return f"Try again later, or download {address}{about} in a browser or on another machine and save it as {path}."
