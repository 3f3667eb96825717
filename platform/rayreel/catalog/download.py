"""Files of data sets from the web: continued where they broke off, checked before they get their name."""

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
"""Called with the bytes that are there and, where the site tells, the bytes in all."""

_CONNECT_S, _SILENCE_S, _LONGEST_PAUSE_S = 10, 30, 20
_TRIES = 4
_GAIN_BYTES = 1 << 20
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class DownloadFailed(RayreelError):
    """A file that did not come; the message says why and how to supply it by hand."""


class NotThere(DownloadFailed):
    """The site answers and has no such file: 404, 410, or a web page in the file's place."""


class WrongFile(DownloadFailed):
    """A file of another size or sha256 than it should have."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on the web. `sha256` and `size` stay empty where nobody publishes them; `page` tells people about it."""

    url: str
    sha256: str = ""
    size: int | None = None
    page: str = ""

    @property
    def name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name

    @property
    def host(self) -> str:
        """Whose site it is."""
        return urlsplit(self.url).hostname or self.url


class Downloads:
    """Remote files in one folder, each under its own name once it is whole and checked.

    Until then it is `<name>.part`, which the next try or the next run continues. A published sha256 decides what is
    right. Where there is none, the first download is trusted and remembered (see `Sums`).
    """

    def __init__(self, folder: Path, pause_s: float = 0.5) -> None:
        """`pause_s` is the first pause between two tries; it doubles."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DownloadFailed(f"{folder} cannot be made: {error.strerror}. Choose another folder.") from error
        self.folder, self._pause_s = folder, pause_s
        self._sums = Sums(folder)
        timeout = httpx.Timeout(_SILENCE_S, connect=_CONNECT_S)
        # Compressed answers have neither the file's length nor its byte ranges.
        headers = {"Accept-Encoding": "identity"}
        hooks = {"response": [_check_redirect]}
        self._client = httpx.Client(timeout=timeout, follow_redirects=True, headers=headers, event_hooks=hooks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def fetch(self, file: RemoteFile, progress: Progress = lambda _bytes, _all: None) -> Path:
        """Download a file, or check the one that is there, and return its path.

        Raises NotThere, WrongFile or DownloadFailed.
        """
        path = self.folder / file.name
        if path.exists():
            if problem := self._problem(path, file):
                other = "" if file.sha256 else f" or, if it is as it should be, its line in {self._sums.path}"
                raise WrongFile(f"{path}: {problem}. Delete it to download it again{other}.")
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
        """Fetch many files, `done` called after each; returns those the site does not have.

        Any other failure is raised at once: where one file cannot be reached, a thousand cannot.
        """
        absent = []
        with ThreadPoolExecutor(at_once) as pool:
            waiting = {pool.submit(self.fetch, file): file for file in files}
            try:
                for fetched in as_completed(waiting):
                    if isinstance(error := fetched.exception(), NotThere):
                        absent.append(waiting[fetched])
                    elif error is not None:
                        raise error
                    done()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return absent

    def _receive(self, file: RemoteFile, part: Part, progress: Progress) -> None:
        """Fill the part and check it. A wrong file that was put together from pieces is fetched once more."""
        for last in (False, True):
            retrying = Retrying(
                stop=_NoGain(part),
                wait=wait_exponential_jitter(self._pause_s, _LONGEST_PAUSE_S, jitter=self._pause_s),
                retry=retry_if_exception(_passing),
                reraise=True,
            )
            retrying(self._try, file, part, progress)
            part.flush()
            if not (problem := self._problem(part.path, file)):
                return
            pieced = part.pieced
            part.clear()
            if last or not pieced:
                said = f"{file.host} serves another {file.name} than expected: {problem}"
                raise WrongFile(f"{said}. {_by_hand(file, part.whole)}")

    def _try(self, file: RemoteFile, part: Part, progress: Progress) -> None:
        headers = part.ask(checked=bool(file.sha256))
        with self._client.stream("GET", file.url, headers=headers) as response:
            _check_answer(file, part, response)
            total = part.place(response)
            _check_length(file, part, total)
            if part.length != total:
                for piece in response.iter_raw():
                    part.write(piece)
                    progress(part.length, total)
        if total is not None and part.length != total:
            raise httpx.RemoteProtocolError(f"only {part.length:,} of {total:,} bytes came")

    def _problem(self, path: Path, file: RemoteFile) -> str:
        """What is wrong with a whole file; empty where nothing is."""
        if file.size not in {None, size := path.stat().st_size}:
            return f"it has {size:,} bytes, not {file.size:,}"
        return self._sums.fault(path, file.name, file.sha256)


class _NoGain(stop_base):
    """Stop after some tries in a row that brought nothing: a break at every gigabyte must not end a long download."""

    def __init__(self, part: Part) -> None:
        self.part, self.longest, self.tries = part, part.length, 0

    def __call__(self, retry_state: RetryCallState) -> bool:
        # A server without ranges starts from zero each time; only what goes beyond the longest try is a gain.
        gained = self.part.length >= self.longest + _GAIN_BYTES
        self.longest = max(self.longest, self.part.length)
        self.tries = 1 if gained else self.tries + 1
        return self.tries >= _TRIES


def _check_redirect(response: httpx.Response) -> None:
    """Refuse a redirect before it is followed: from https to http, and to another host that is not a public one."""
    if not response.has_redirect_location:
        return
    target = response.url.join(response.headers["Location"])
    if response.url.scheme == "https" and target.scheme != "https":
        raise httpx.UnsupportedProtocol(f"it leads away from https://, to {target.host}")
    try:
        check_host(target.host, (ANY, response.url.host))
    except (HostNotAllowed, BadAddress) as error:
        raise httpx.UnsupportedProtocol(f"it leads astray: {error}") from None


def _check_answer(file: RemoteFile, part: Part, response: httpx.Response) -> None:
    """Refuse an answer that is not the file."""
    if response.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        response.raise_for_status()
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("text/html") and part.whole.suffix not in {".html", ".htm"} and response.is_success:
        said = f"{file.host} answers with a web page in place of {file.name}"
        raise NotThere(f"{said}. {_by_hand(file, part.whole)}")


def _check_length(file: RemoteFile, part: Part, total: int | None) -> None:
    """Refuse before the transfer what has another length or does not fit."""
    if total is None:
        return
    if file.size not in {None, total}:
        said = f"{file.host} has a {file.name} of {total:,} bytes, not {file.size:,}"
        raise WrongFile(f"{said}. {_by_hand(file, part.whole)}")
    folder = part.whole.parent
    missing, free = total - part.length, shutil.disk_usage(folder).free
    if missing > free:
        said = f"{file.name} needs {missing / 1e9:.1f} GB more, and {folder} has {free / 1e9:.1f} GB free"
        raise DownloadFailed(f"{said}. Free some or choose another folder.")


def _passing(error: BaseException) -> bool:
    """Whether another try may help."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error or error.response.status_code in _PASSING
    return isinstance(error, httpx.TransportError) and not (
        isinstance(error, httpx.UnsupportedProtocol) or _untrusted(error)
    )


def _untrusted(error: Exception) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _failure(file: RemoteFile, path: Path, error: Exception) -> DownloadFailed:
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        gone = status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
        kind, said = (NotThere, "has no") if gone else (DownloadFailed, f"answers HTTP {status} for")
        return kind(f"{file.host} {said} {file.name}. {_by_hand(file, path)}")
    if isinstance(error, OSError):
        return DownloadFailed(f"{path} cannot be written: {error.strerror}. Free space or choose another folder.")
    cause = "its certificate is not trusted" if _untrusted(error) else str(error) or type(error).__name__
    return DownloadFailed(f"{file.host} cannot be reached for {file.name} ({cause}). {_by_hand(file, path)}")


def _by_hand(file: RemoteFile, path: Path) -> str:
    address = public_address(file.url)
    about = f" (about it: {file.page})" if file.page else ""
    return f"Try again later, or get {address}{about} with a browser or on another machine and put it at {path}."
