"""The system's Chromium, for tests of web pages."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

FOUND = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(FOUND is None, reason="needs Chromium: apt-get install chromium")
# For a machine whose cores others use. A test waits only for as long as it has to.
PATIENCE_MS = 150_000
_OPTIONS = (
    "--no-sandbox",  # containers forbid its own
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@contextmanager
def chromium(environment: Mapping[str, str] | None = None) -> Iterator[Browser]:
    """Run the browser, without access to other machines, for the duration of the block."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=FOUND, args=list(_OPTIONS), env={**os.environ, **(environment or {})}
        )
        yield browser
        browser.close()


class Watched:
    """What a page asked for and reported: requests to other hosts, exceptions, and errors in the console."""

    def __init__(self, page: Page, host: str) -> None:
        self.host, self.elsewhere, self.errors = host, list[str](), list[str]()
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", self._asked)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)

    def _asked(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in {"data", "blob"} and address.netloc != self.host:
            self.elsewhere.append(request.url)


@contextmanager
def opened(
    browser: Browser,
    url: str,
    width: int = 1200,
    height: int = 800,
    *,
    dark: bool = False,
    statuses: Sequence[int] = (),
) -> Iterator[Page]:
    """Open a page for addresses below `url`. At the end, it must have asked no other host and reported no error.

    Browsers report failed requests as errors; those with one of `statuses` are expected.
    """
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": height},
        has_touch=width < 600,
        locale="en-GB",
        timezone_id="UTC",
        color_scheme="dark" if dark else "light",
    )
    page = context.new_page()
    watched = Watched(page, urlsplit(url).netloc)
    yield page
    context.close()
    assert not watched.elsewhere, watched.elsewhere
    errors = [error for error in watched.errors if not any(f"status of {status}" in error for status in statuses)]
    assert not errors, errors
