"""The web page in a browser, with the real service and its real videos."""

import io
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from chain import CLIPS, Chain
from chromium import chromium, needs_browser, opened

pytestmark = [needs_browser, pytest.mark.timeout(900)]  # the first test waits for the service
PHONE, WIDE = 390, 1200
UNENDED = {"QUEUED", "PENDING", "RUNNING"}
COUNT = len(CLIPS) + 2  # with the mute and the still one
TITLE = {clip.video_id: clip.title for clip in CLIPS}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser, chain: Chain) -> Iterator[Page]:
    with opened(browser, chain.url) as page:
        yield page


def open_view(page: Page, path: str = "/") -> None:
    """Open an address and wait for what it shows."""
    page.goto(path)
    expect(page.locator(".tile, path.point, .after").first).to_be_visible()
    expect(page.get_by_text("Loading…")).to_have_count(0)


def expect_all(page: Page, category: str, most: int = 3) -> None:
    """Wait until the first videos are of one category."""
    for number in range(most):
        expect(page.locator(".card .of").nth(number)).to_have_text(category)


def test_the_page_lists_every_video_with_its_picture(page: Page) -> None:
    open_view(page)
    expect(page.locator(".card")).to_have_count(COUNT)
    expect(page.locator(".after")).to_have_text("That is everything.")
    picture = page.locator(".card img").first
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 224


def test_results_change_as_one_types(page: Page) -> None:
    open_view(page)
    page.get_by_role("searchbox").press_sequentially("a blizzard of snow in winter")
    expect(page.locator(".card .score").first).to_be_visible()
    expect(page.locator(".card .of").first).to_have_text("snowfall")
    assert page.url.endswith("/?q=a+blizzard+of+snow+in+winter")
    expect(page.locator(".card .why").first).to_contain_text("words")


def test_a_click_on_a_video_shows_it_and_more_like_it(page: Page) -> None:
    open_view(page, "/?q=neon+light+at+night")
    card = page.locator(".card", has_text="city traffic").first
    name = card.locator(".name").text_content() or ""
    card.locator(".frame").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.get_by_role("heading", name="More like this")).to_be_visible()
    expect(page.locator(".card .name", has_text=name)).to_have_count(0)
    expect_all(page, "city traffic")
    expect(page.locator(".watch video")).to_have_js_property("error", None)
    page.get_by_role("button", name="Back").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Results for “neon light at night”")


def test_a_video_plays_without_sound_while_the_pointer_is_on_it(page: Page) -> None:
    open_view(page)
    page.locator(".frame").first.hover()
    video = page.locator(".card video")
    video.evaluate("video => new Promise(done => video.addEventListener('timeupdate', done, {once: true}))")
    expect(video).to_have_js_property("muted", True)
    page.get_by_role("searchbox").hover()
    expect(video).to_have_count(0)


def test_a_dropped_or_chosen_file_is_a_query(page: Page, chain: Chain) -> None:
    open_view(page)
    file = chain.catalog.parent / "fireworks" / "fireworks_001.mp4"
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_role("heading", level=1)).to_have_text("Videos like fireworks_001.mp4")
    expect(page.locator(".card .score").first).to_be_visible()
    expect_all(page, "fireworks", 1)


def test_likes_and_skips_change_the_list_at_once(page: Page) -> None:
    open_view(page, "/?category=snowfall")
    page.get_by_role("button", name=f"Like: {TITLE['snowfall_001']}", exact=True).click()
    page.get_by_role("link", name="For you").click()
    expect(page.locator(".likes li")).to_have_count(1)
    page.get_by_role("button", name="All", exact=True).click()
    expect(page.locator(".card .score").first).to_be_visible()
    expect(page.locator(".card .name", has_text=TITLE["snowfall_001"])).to_have_count(0)
    skipped = page.locator(".card .name").first.text_content() or ""
    page.get_by_role("button", name=f"Not for me: {skipped}", exact=True).click()
    expect(page.locator(".card .name", has_text=skipped)).to_have_count(0)
    page.reload()
    expect(page.locator(".card .score").first).to_be_visible()
    expect(page.locator(".card .name", has_text=skipped)).to_have_count(0)


def test_what_is_played_is_a_view_of_the_user(page: Page, chain: Chain) -> None:
    open_view(page, "/?view=you")
    page.get_by_label("User id").fill("page-viewer")
    page.get_by_role("button", name="Continue as").click()
    expect(page.get_by_text("You are page-viewer.")).to_be_visible()
    page.get_by_role("button", name="snowfall 8").click()
    expect_all(page, "snowfall")
    page.locator(".card .frame").first.click()
    page.locator(".watch video").evaluate(
        "video => new Promise(done => (video.ontimeupdate = () => video.currentTime > 1.5 && done(), video.play()))"
    )
    with page.expect_request(lambda asked: "/v1/events" in asked.url and '"view"' in (asked.post_data or "")) as sent:
        page.get_by_role("button", name="Back").click()
    answer = sent.value.response()
    assert answer is not None and answer.status == 200
    kept = httpx.get(f"{chain.url}/v1/users/page-viewer", timeout=60).json()
    (event,) = (event for event in kept["events"] if event["type"] == "view")
    assert event["video_id"].startswith("snowfall") and event["value"] >= 1
    assert event["recommendation_id"] in {answer["recommendation_id"] for answer in kept["recommendations"]}


def test_filters_are_made_of_the_catalogs_own_fields(page: Page) -> None:
    open_view(page)
    page.get_by_role("button", name="fireworks 8").click()
    expect(page.locator(".card")).to_have_count(8)
    expect_all(page, "fireworks", 8)
    page.get_by_role("button", name="Filters").click()
    tags = [clip.tags for clip in CLIPS if clip.category == "fireworks"]
    page.get_by_label("Tags").select_option(tags[0][0])
    expect(page.locator(".card")).to_have_count(sum(tags[0][0] in of for of in tags))
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".card")).to_have_count(COUNT)


def test_the_keyboard_reaches_everything(page: Page) -> None:
    open_view(page)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.locator(".frame").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".frame").nth(1)).to_be_focused()
    page.keyboard.press("l")
    expect(page.locator(".card").nth(1).get_by_role("button", name="Like")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Enter")
    expect(page.locator(".watch")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".watch")).to_have_count(0)


def test_the_map_shows_a_poster_and_lists_a_selection(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Map").click()
    points = page.locator("#map path.point")
    expect(points).to_have_count(COUNT)
    points.first.dispatch_event("mousemove")
    page.get_by_label("Colour").select_option("cluster")
    expect(points).to_have_count(COUNT)
    page.evaluate("Plotly.relayout('map', {dragmode: 'select'})")
    box = page.locator("#map .draglayer .nsewdrag").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] - 2, steps=4)
    page.mouse.up()
    chosen = page.get_by_label("Selected videos")
    expect(chosen.locator("li")).to_have_count(COUNT)
    assert chosen.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 72
    with page.expect_download() as download:
        chosen.get_by_role("button", name="Save as CSV").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 1 + COUNT
    page.get_by_role("button", name="Near-duplicates").click()
    expect(chosen.get_by_text(re.compile(r"^near-duplicate: \d+ videos$"))).to_be_visible()
    page.get_by_label("Colour").select_option("split")
    expect(page.locator("#map .legendtext").filter(has_text="validation")).to_be_visible()
    page.get_by_label("Colour").select_option("cluster")
    expect(page.locator("#map .annotation-text").first).to_be_visible()
    page.get_by_label("Dimensions").select_option("3-D")
    expect(page.locator("#map .gl-container canvas").first).to_be_visible()


def test_the_status_shows_the_release_its_gates_and_the_quarantine(page: Page, chain: Chain) -> None:
    page.goto("/status")
    tile = page.locator(".tile .value")
    expect(tile.nth(1)).to_have_text(str(chain.ready()["release"]))
    expect(tile.nth(2)).to_have_text(str(COUNT))
    expect(page.locator(".gates .verdict").first).to_be_visible()
    expect(page.locator(".trail li", has_text="promoted").first).to_be_visible()
    expect(page.locator(".trail li", has_text="truncated").first).to_be_visible()
    expect(tile.nth(4)).to_have_text(re.compile(r"^[\d.,]+/s$"))
    expect(page.get_by_role("list", name="Jobs").locator("li").first).to_be_visible()


def test_a_repaired_video_is_served_after_it_is_tried_again(page: Page, chain: Chain) -> None:
    whole, folder = chain.catalog.parent / CLIPS[0].file, chain.catalog.parent / "again"
    folder.mkdir()
    (broken := folder / "repaired.mp4").write_bytes(whole.read_bytes()[:4000])
    (folder / "catalog.csv").write_text("video_id,uri,title\nrepaired,repaired.mp4,A repaired thing\n")
    with httpx.Client(base_url=chain.url, timeout=60) as client:
        job = client.post("/v1/videos/batch", json={"catalog": str(folder / "catalog.csv")}).raise_for_status().json()
        assert ended(client, job["id"])["status"] == "FAILED"
        page.goto("/status")
        again = page.get_by_role("button", name="Try again: repaired")
        shutil.copy(whole, broken)
        again.click()
        expect(page.locator(".told")).to_contain_text(re.compile(r"release \d+: 1 new"))
        expect(again).to_have_count(0)
        expect(page.locator(".trail li", has_text="quarantine retried").first).to_contain_text("repaired")
        assert client.get("/v1/videos/repaired").json()["title"] == "A repaired thing"
        client.delete("/v1/videos/repaired").raise_for_status()


def ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """Wait for a job and return it."""
    while (job := client.get(f"/v1/jobs/{job_id}").raise_for_status().json())["status"] in UNENDED:
        time.sleep(0.2)
    found: dict[str, Any] = job
    return found


def test_the_page_fits_a_phone(browser: Browser, chain: Chain) -> None:
    with opened(browser, chain.url, PHONE, 844) as page:
        for path in ("/status", "/?like=ocean_waves_001", "/"):
            open_view(page, path)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE, path
        page.get_by_role("button", name="Like").first.tap()
        expect(page.get_by_role("link", name="For you 1")).to_be_visible()


def test_a_page_that_the_browser_knows_already_opens_again(page: Page) -> None:
    for path in ("/", "/status", "/"):
        open_view(page, path)


def test_the_page_is_dark_where_the_device_is(browser: Browser, chain: Chain) -> None:
    def lightness(*, dark: bool) -> float:
        with opened(browser, chain.url, dark=dark) as page:
            open_view(page)
            shot = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))
            return float(np.median(shot[:, :8]))  # beside the videos

    assert lightness(dark=True) < 60 and lightness(dark=False) > 200


@pytest.mark.parametrize(
    ("path", "width", "dark"),
    [
        ("/", WIDE, False),
        ("/?q=waves", PHONE, True),
        ("/?like=ocean_waves_001", WIDE, True),
        ("/?view=you", PHONE, False),
        ("/status", WIDE, False),
        ("/status", PHONE, True),
        ("/map", WIDE, True),
    ],
)
def test_axe_finds_no_violation(browser: Browser, chain: Chain, path: str, width: int, dark: bool) -> None:
    with opened(browser, chain.url, width, dark=dark) as page:
        open_view(page, path)
        found = Axe().run(page)
        assert not found.response["violations"], found.generate_report()
