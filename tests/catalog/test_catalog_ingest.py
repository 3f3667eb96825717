"""Videos from a local site, through yt-dlp's generic extractor."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from http_servers import Server, running
from rayreel.catalog.folder import read_folder
from rayreel.catalog.ingest import IngestRules, NothingFetched, facts_of, ingest
from rayreel.catalog.video import CatalogVideo
from rayreel.features.captioned import captioned_rows, captions_beside

RULES = IngestRules(pause_s=0, timeout_s=5, retries=0)
CAPTIONS = "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nThe tide is rising\n"
PAGE = """<html><head><title>{name} of the sea</title></head>
<body><video src="/{name}.mp4"><track kind="subtitles" srclang="en" src="/{name}.vtt"></video></body></html>"""
FEED = """<?xml version="1.0"?><rss version="2.0"><channel><title>Sea</title>{items}</channel></rss>"""
ITEM = "<item><title>{name}</title><link>{url}</link></item>"


@pytest.fixture
def site(film: Callable[..., Path]) -> Iterator[Server]:
    """Three pages with a video each, and a feed of them; the last page's video is missing."""
    content = film("film.mp4", frames=12, fps=12).read_bytes()
    with running(Server()) as server:
        for name in ("tide", "waves", "gone"):
            server.content(f"/watch/{name}", PAGE.format(name=name).encode(), ("Content-Type", "text/html"))
            server.content(f"/{name}.vtt", CAPTIONS.encode(), ("Content-Type", "text/vtt"))
            server.content(f"/{name}.mp4", content, ("Content-Type", "video/mp4"))
        server.answers["/gone.mp4"] = lambda handler: handler.send(404, b"")
        items = "".join(ITEM.format(name=name, url=server.url(f"/watch/{name}")) for name in ("tide", "waves", "gone"))
        server.content("/feed", FEED.format(items=items).encode(), ("Content-Type", "application/rss+xml"))
        yield server


def videos_in(folder: Path) -> list[CatalogVideo]:
    return [row for row in read_folder(folder) if isinstance(row, CatalogVideo)]


def test_a_page_becomes_a_video_with_its_facts_and_captions_and_is_fetched_once(site: Server, tmp_path: Path) -> None:
    folder = tmp_path / "web"
    found = ingest([site.url("/watch/tide")], folder, RULES)
    assert (found.fetched, found.captioned, found.failed) == (1, 1, [])
    (video,) = videos_in(folder)
    assert video.title.startswith("tide of the sea") and video.category == ""
    assert video.extra["page"] == site.url("/watch/tide") and Path(video.uri).read_bytes()[4:8] == b"ftyp"
    said = captioned_rows([video], captions_beside([video])).to_pylist()[0]
    assert said["transcript"] == "The tide is rising" and said["segments"][0]["start_s"] == 1
    assert sorted(path.suffix for path in folder.rglob("*") if path.is_file()) == ["", ".json", ".mp4", ".vtt"]

    Path(video.uri).unlink()  # deleted by hand: not wanted
    again = ingest([site.url("/watch/tide")], folder, RULES)
    assert again.fetched == 0 and site.asked.count("/tide.mp4") == 1


def test_of_a_playlist_one_missing_video_does_not_stop_the_others(site: Server, tmp_path: Path) -> None:
    found = ingest([site.url("/feed")], tmp_path / "web", RULES)
    assert found.fetched == 2 and len(found.failed) == 1 and "404" in found.failed[0]
    assert {video.title.split()[0] for video in videos_in(tmp_path / "web")} == {"tide", "waves"}
    assert ingest([site.url("/feed")], tmp_path / "first", IngestRules(pause_s=0, most=1)).fetched == 1


def test_a_site_that_is_away_is_an_error_that_says_so(tmp_path: Path) -> None:
    with running(Server()) as server:
        address = server.url("/watch")
    with pytest.raises(NothingFetched, match="run the same command later"):
        ingest([address], tmp_path / "web", RULES)


def test_facts_have_the_catalogs_columns_and_dates_in_any_form() -> None:
    info = {"title": "A", "upload_date": "20260102", "tags": ["x", " "], "license": "CC BY", "categories": ["Music"]}
    known = facts_of({**info, "channel": "C", "view_count": 3})
    text = {"category": "Music", "title": "A", "created_at": "2026-01-02", "licence": "CC BY", "uploader": "C"}
    assert known == text | {"tags": ["x"]}
    assert facts_of({"timestamp": 0})["created_at"] == "1970-01-01T00:00:00+00:00"
    video = CatalogVideo(video_id="v", **json.loads(json.dumps(known | {"extra": {}})))
    assert video.created_at is not None and video.created_at.year == 2026
