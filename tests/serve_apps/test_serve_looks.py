"""The looks of the page: screenshots of made answers beside pictures that are kept.

Chromium has no font but one of boxes, so that pictures are the same with whatever fonts a machine has. With it, runs do
not differ. With DejaVu Sans and Liberation Sans, some tile differs by 139 to 233 of 255; a missing card makes 155.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from box_font import only_boxes
from chromium import chromium, needs_browser, opened
from made_page import made_page

pytestmark = needs_browser
KEPT = Path(__file__).parent / "looks"
# Address, width, height, dark.
LOOKS = {
    "search": ("/?q=waves", 1200, 800, False),
    "phone": ("/?q=waves", 390, 844, False),
    "dark": ("/", 1200, 800, True),
    "map": ("/map", 1200, 800, False),
    "status": ("/status", 1200, 1300, False),
}
# Pictures are kept at half the size, and compared at an eighth: a tile is 8 pixels wide.
KEPT_AT, TILE = 2, 4
# Largest difference of a tile's mean, of 255. An edge that another Chromium draws half a pixel further makes 29.
MOST = 45.0
SEEN = "image => image.getBoundingClientRect().top < innerHeight"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with made_page() as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(only_boxes(tmp_path_factory.mktemp("font"))) as running:
        yield running


def show(page: Page, path: str) -> None:
    """Open an address and wait for all that it shows."""
    page.goto(path)
    expect(page.locator(".tile, path.point, .card").first).to_be_visible()
    expect(page.get_by_text("Loading…")).to_have_count(0)
    page.evaluate(f"Promise.all([...document.images].filter({SEEN}).map(image => image.decode()))")


def shot(page: Page) -> Image.Image:
    png = page.screenshot(animations="disabled", caret="hide")
    return Image.open(io.BytesIO(png)).convert("RGB").reduce(KEPT_AT)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the largest difference of a tile's mean in any colour, of 255; infinite for different sizes."""
    if one.size != other.size:
        return float("inf")
    tiles = [np.asarray(image.reduce(TILE), np.float32) for image in (one, other)]
    return float(np.abs(tiles[0] - tiles[1]).max())


@pytest.mark.parametrize("name", LOOKS)
def test_the_page_looks_as_it_did(browser: Browser, url: str, name: str, tmp_path: Path) -> None:
    path, width, height, dark = LOOKS[name]
    with opened(browser, url, width, height, dark=dark, statuses=(404,)) as page:
        show(page, path)
        now, kept = shot(page), KEPT / f"{name}.webp"
    found = difference(now, Image.open(kept).convert("RGB")) if kept.exists() else float("inf")
    now.save(new := tmp_path / f"{name}.webp", lossless=True)
    assert found <= MOST, f"{kept.name} differs by {found:.0f} of 255. Look at {new}. If it is right: cp {new} {kept}"


PLANTED = {
    "a card is missing": "document.querySelectorAll('.card')[2].remove()",
    "all cards are 8 pixels lower": "document.querySelector('.blocks').style.paddingTop = '8px'",
    "a picture is missing": "document.querySelectorAll('.card img')[1].style.visibility = 'hidden'",
    "the scores are missing": "document.querySelectorAll('.score').forEach(score => score.remove())",
    "the colour of the page is another": "document.documentElement.style.setProperty('--ground', '#777')",
}


@pytest.mark.parametrize("change", PLANTED.values(), ids=PLANTED)
def test_a_planted_change_is_seen(browser: Browser, url: str, change: str) -> None:
    with opened(browser, url) as page:
        show(page, "/?q=waves")
        before, again = shot(page), shot(page)
        page.evaluate(f"() => {{ {change} }}")
        after = shot(page)
    assert difference(before, after) > 2 * MOST and difference(before, again) < MOST / 4


def test_the_kept_pictures_are_small() -> None:
    sizes = [path.stat().st_size for path in KEPT.glob("*.webp")]
    assert len(sizes) == len(LOOKS) and max(sizes) < 100_000 and sum(sizes) < 300_000
