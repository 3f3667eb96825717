"""Take the pictures of the README from a running service: `python .ci/screenshots.py [URL]`. Needs Chromium.

The service must have rendered videos only, such as after `rayreel quickstart --set sample.easy=true`.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE = {"width": 1200, "height": 750}
QUERY = "waves at the beach"
FRAME_MS = 200
MOST_BYTES = {"page.webp": 100_000, "page-moving.webp": 1_000_000}


def take(url: str) -> None:
    """Write a screenshot of a search, and a recording of typing it and looking at a video."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(base_url=url, viewport={"width": SIZE["width"], "height": SIZE["height"]})
        page.goto(f"/?q={QUERY}")
        _settled(page)
        write([_shot(page)], "page.webp", quality=82)
        page.goto("/")
        frames = [frame.resize((720, 450)) for frame in (*_typing(page), *_looking(page))]
        write(frames, "page-moving.webp", quality=40)
        browser.close()


def _typing(page: Page) -> list[Image.Image]:
    _settled(page)
    frames = [_shot(page)] * 8
    for letter in QUERY:
        page.get_by_role("searchbox").press_sequentially(letter)
        frames.append(_shot(page))
    page.locator(".card .score").first.wait_for()
    _settled(page)
    return [*frames, *[_shot(page)] * 8]


def _looking(page: Page) -> list[Image.Image]:
    card = page.locator(".card").first
    card.hover()
    page.locator(".card video").wait_for()
    frames = [_shot(page) for _ in range(20)]
    card.get_by_role("button", name="Like").click()
    frames += [_shot(page)] * 6
    page.get_by_role("link", name="For you").click()
    page.locator(".likes li").first.wait_for()
    _settled(page)
    return [*frames, *[_shot(page)] * 12]


def _settled(page: Page) -> None:
    """Wait for the posters that are in view."""
    page.locator(".card").first.wait_for()
    page.locator(".blocks.stale").wait_for(state="detached")
    page.evaluate("Promise.all([...document.querySelectorAll('.card img')].slice(0, 20).map(image => image.decode()))")


def _shot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def write(frames: list[Image.Image], name: str, quality: int) -> None:
    """Write one frame, or several as a moving picture. Exits if the file is too large for the repository."""
    out = io.BytesIO()
    rest = {"save_all": True, "append_images": frames[1:], "duration": FRAME_MS, "loop": 0} if len(frames) > 1 else {}
    frames[0].save(out, "webp", quality=quality, method=6, **rest)
    if len(out.getvalue()) > MOST_BYTES[name]:
        sys.exit(f"{name} has {len(out.getvalue()):,} bytes; at most {MOST_BYTES[name]:,} are kept")
    (IMAGES / name).write_bytes(out.getvalue())


if __name__ == "__main__":
    take(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
