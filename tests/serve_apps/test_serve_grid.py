"""The grid of the page with many videos: only those near the view exist. `.ci/frames.py` measures how it scrolls."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from chromium import chromium, needs_browser, opened
from made_page import made_page

pytestmark = needs_browser
VIDEOS, MOST_CARDS = 1000, 150
IN_VIEW = "c => { const r = c.getBoundingClientRect(); return r.bottom > 100 && r.top < innerHeight; }"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with made_page(VIDEOS) as url, chromium() as browser, opened(browser, url) as page:
        page.goto("/")
        while page.locator(".after").inner_text() != "That is everything.":
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.wait_for_timeout(20)
        yield page


def card(page: Page, number: int) -> str:
    return f'.card:has(a[href="/?like=v{number:05}"])'


def test_few_cards_exist_wherever_the_view_is(page: Page) -> None:
    for share in (0, 0.3, 1, 0.6):
        page.evaluate(f"scrollTo(0, document.body.scrollHeight * {share})")
        while page.evaluate(f"[...document.querySelectorAll('.card')].filter({IN_VIEW}).length") < 4:
            page.wait_for_timeout(20)
        assert page.locator(".card").count() <= MOST_CARDS


def test_the_last_video_is_at_the_end_and_the_first_at_the_start(page: Page) -> None:
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(card(page, VIDEOS - 1))).to_be_visible()
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator(card(page, 0))).to_be_visible()


def test_arrow_keys_reach_rows_that_did_not_exist(page: Page) -> None:
    page.evaluate("scrollTo(0, 0)")
    page.locator(".frame").first.focus()
    columns = page.evaluate("getComputedStyle(document.querySelector('.grid')).gridTemplateColumns.split(' ').length")
    for row in range(1, 30):
        page.keyboard.press("ArrowDown")
        expect(page.locator(f"{card(page, row * columns)} .frame")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(f"{card(page, 29 * columns - 1)} .frame")).to_be_focused()


def test_a_view_does_not_jump_when_rows_above_it_appear(page: Page) -> None:
    page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    page.wait_for_timeout(300)
    place = (
        "(() => { const c = [...document.querySelectorAll('.card')].find(c => c.getBoundingClientRect().top > 100);"
        " return [c.querySelector('a').href, c.getBoundingClientRect().top]; })()"
    )
    name, top = page.evaluate(place)
    for _ in range(12):
        page.mouse.move(600, 500)
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(100)
    for _ in range(12):
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(100)
    page.wait_for_timeout(300)
    moved = page.locator(f'.card:has(a[href="{name[name.index("/?") :]}"])').bounding_box()
    assert moved is not None and abs(moved["y"] - top) < 5
