"""Measure how the page scrolls through made videos: `python .ci/frames.py [VIDEOS]`. Needs Chromium.

Prints frames per second and the longest frame by Chromium's own trace. With the tests on PYTHONPATH.
"""

import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from playwright.sync_api import CDPSession, Page

from chromium import chromium
from made_page import made_page

# 40 pixels a frame are 2,400 a second, a fast scroll.
SCROLL = """new Promise(done => {
  let frames = 0;
  const step = () => { scrollBy(0, 40); ++frames < 360 ? requestAnimationFrame(step) : done(); };
  requestAnimationFrame(step);
})"""
END = "That is everything."


def measure(videos: int) -> None:
    """Print frames per second while the page with all videos loaded scrolls for 360 frames."""
    with made_page(videos) as url, chromium() as browser:
        context = browser.new_context(base_url=url, viewport={"width": 1400, "height": 900})
        page = context.new_page()
        page.goto("/")
        while page.locator(".after").inner_text() != END:
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.wait_for_timeout(30)
        page.evaluate("scrollTo(0, 3000)")
        page.wait_for_timeout(1500)
        events = traced(page, context.new_cdp_session(page), lambda: page.evaluate(SCROLL))
    drawn = sorted(event["ts"] / 1000 for event in events if event["name"] == "DrawFrame")
    gaps = sorted(after - before for before, after in pairwise(drawn))
    rate, p99 = 1000 * len(gaps) / sum(gaps), gaps[int(0.99 * len(gaps))]
    times = f"median {gaps[len(gaps) // 2]:.1f} ms, p99 {p99:.1f}, longest {gaps[-1]:.1f}"
    print(f"{videos:,} videos: {rate:.1f} frames a second, {times}")  # noqa: T201 - a command


def traced(page: Page, session: CDPSession, act: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return the events of Chromium's trace during an action."""
    events, ended = list[dict[str, Any]](), list[bool]()
    session.on("Tracing.dataCollected", lambda part: events.extend(part["value"]))
    session.on("Tracing.tracingComplete", lambda _: ended.append(True))
    categories = {"includedCategories": ["devtools.timeline.frame", "disabled-by-default-devtools.timeline.frame"]}
    session.send("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": categories})
    act()
    session.send("Tracing.end")
    while not ended:
        page.wait_for_timeout(50)
    return events


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
