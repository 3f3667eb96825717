"""The page with made answers of the API, always the same: for its looks, and for more videos than tests can index."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from PIL import Image, ImageDraw

from api_alone import running
from rayreel.client.messages import CategoryCount, Explanation, Facets, NumberRange, Recommendations, Result, Video
from rayreel.client.messages import VideoPage as Listed
from rayreel.client.operation import (
    Following,
    GateResult,
    Job,
    KeptRelease,
    Operations,
    Quarantined,
    Ready,
    Release,
    ReleaseEvent,
    ReplicaLoad,
)
from rayreel.recommendation.config import Layout
from rayreel.recommendation.map import FUSED, VideoMap
from rayreel.recommendation.map_page import page as map_page
from serve_apps import problems
from serve_apps.routes import page

CATEGORIES = ("ocean_waves", "forest", "city_at_night", "snow", "desert", "kitchen")
FOUND = 24
AT = "2026-01-02T10:20:30+00:00"


def made_video(number: int) -> Video:
    """Return one of the videos, by its number."""
    category, video_id = CATEGORIES[number % len(CATEGORIES)], f"v{number:05}"
    return Video(
        video_id=video_id,
        title=f"{category.replace('_', ' ').capitalize()}, take {number}"
        + " in the long evening light" * (number % 3 == 0),
        category=category,
        duration_s=3 + number % 70,
        poster_url=f"/v1/videos/{video_id}/poster?v=1",
    )


@cache
def made_poster(kind: int) -> bytes:
    """Return a picture, WebP: a shape on a plain ground, of one of 60 kinds."""
    hue = np.array([np.sin(kind), np.sin(kind + 2), np.sin(kind + 4)]) * 80 + 130
    image = Image.new("RGB", (224, 224), tuple(hue.astype(int).tolist()))
    side, corner = 50 + kind % 5 * 18, 30 + kind % 7 * 12
    draw = ImageDraw.Draw(image)
    shape = draw.ellipse if kind % 2 else draw.rectangle
    shape((corner, corner, corner + side, corner + side), fill=tuple(int(value) for value in 255 - hue))
    out = io.BytesIO()
    image.save(out, "webp", lossless=True)
    return out.getvalue()


def made_map(count: int = 240) -> VideoMap:
    """Return a map of as many videos, in as many heaps as there are categories."""
    rng = np.random.default_rng(0)
    of_N = np.arange(count) % len(CATEGORIES)
    middles = np.stack([np.cos(np.arange(6)), np.sin(np.arange(6))], axis=1) * 0.7
    places_N2 = (middles[of_N] + rng.normal(0, 0.1, (count, 2))).clip(-1, 1).astype(np.float32)
    names = [CATEGORIES[number] for number in of_N]
    return VideoMap(
        release=3,
        layout=Layout.PCA,
        ids=[f"v{number:05}" for number in range(count)],
        titles=[f"{name}, take {number}" for number, name in enumerate(names)],
        planes={FUSED: places_N2},
        solids={},
        groups={
            "category": names,
            "cluster": [f"{number + 1} {CATEGORIES[number]}" for number in of_N],
            "near-duplicate": ["yes" if number % 50 == 0 else "no" for number in range(count)],
        },
        copies=[""] * count,
        ndcg=rng.uniform(0.4, 1, count).astype(np.float32),
        posters=[""] * count,
    )


def made_status() -> tuple[Ready, list[Release], Operations]:
    """Return what `/status` shows."""
    gates = [
        GateResult(name="encoders", passed=True, finding="The features are of the encoders of this release."),
        GateResult(name="category nDCG@10", passed=True, finding=".812 [.790, .834], baseline .744, p < .001."),
        GateResult(name="per category", passed=False, finding="snow fell from .71 to .64, p .03."),
        GateResult(name="index recall", passed=True, finding="1.000 of 200 queries, floor .95."),
    ]
    releases = [
        Release(version=3, collection="videos_v3", champion=True, size=240, gates=gates, promoted_at=AT,
                promoted_by="key 1f2e", metrics={"category_ndcg": 0.812, "recall": 1.0}),
        Release(version=2, collection="videos_v2", champion=False, size=231, promoted_at=AT, promoted_by="ops",
                metrics={"category_ndcg": 0.744}),
    ]  # fmt: skip
    bad = [
        Quarantined(video_id=f"broken{n}", stage="decode", reason=reason, detail=detail, at=AT, retriable=n < 3)
        for n, (reason, detail) in enumerate(
            [
                ("truncated", "0.8 of 4.0 s can be decoded"),
                ("unreadable", "no known format"),
                ("missing_file", "no video file at the address"),
                ("duplicate_id", "row 9: the video_id is already used by row 2"),
            ]
        )
    ]
    events = [
        ReleaseEvent(event="promoted", at=AT, by="key 1f2e", version=3, before=2),
        ReleaseEvent(event="refused", at=AT.replace("30+", "31+"), by="follower", version=4, reason="category nDCG@10"),
    ]
    operations = Operations(
        events=events,
        quarantined=len(bad),
        reasons={"truncated": 1, "unreadable": 1, "missing_file": 1, "duplicate_id": 1},
        quarantine=bad,
        jobs=[Job(id="add-1f2e3d", status="RUNNING", log_tail="120 of 400 videos, 6.1 a second")],
        replica=ReplicaLoad(requests_per_s=12.5, p50_ms=4.2, p99_ms=31.0, queues={"search": 1}, looked_s=0.4),
        links={"ray": "http://127.0.0.1:8265"},
    )
    following = Following(state="in_step", mode="gate", wanted=3)
    encoders = {"visual": "mobilenet_v2", "text": "all_minilm_l6_v2"}
    return Ready(release=3, index_size=240, device="cpu", encoders=encoders, following=following), releases, operations


def made_api(videos: int) -> FastAPI:
    """Return the page, and what it asks for, with as many videos."""
    api, (ready, releases, operations) = FastAPI(), made_status()
    problems.install(api)
    api.include_router(page.router)
    api.get("/readyz")(lambda: ready)
    api.get("/v1/releases")(lambda: releases)
    api.get("/v1/releases/kept")(lambda: [KeptRelease(version=3, serving=True), KeptRelease(version=2, serving=False)])
    api.get("/v1/operations")(lambda: operations)
    api.post("/v1/events")(lambda: {"stored": 0, "duplicates": 0, "refused": []})

    @api.get("/v1/map")
    def made_map_page() -> HTMLResponse:
        return HTMLResponse(map_page(made_map()))

    @api.get("/v1/videos")
    def listed(limit: int = 100, cursor: int = 0) -> Listed:
        end = min(videos, cursor + limit)
        shown = [made_video(number) for number in range(cursor, end)]
        return Listed(videos=shown, next_cursor=str(end) if end < videos else None)

    @api.get("/v1/videos/{video_id}/poster")
    def poster(video_id: str) -> Response:
        return Response(
            made_poster(int(video_id[1:]) % 60), media_type="image/webp", headers={"cache-control": "max-age=3600"}
        )

    @api.get("/v1/facets")
    def facets() -> Facets:
        counts = [CategoryCount(value=name, videos=videos // len(CATEGORIES)) for name in CATEGORIES]
        lengths = NumberRange(smallest=3, largest=72)
        return Facets(videos=videos, categories=counts, tags=[], duration_s=lengths)

    @api.post("/v1/recommend")
    def recommend() -> Recommendations:
        return Recommendations(recommendation_id="r1", release=3, results=[_found(number) for number in range(FOUND)])

    return api


def _found(rank: int) -> Result:
    video = made_video(rank * 7)
    shares = {"visual": 0.5 + rank % 4 * 0.1, "audio": 0.2, "text": 0.3}
    return Result(
        video_id=video.video_id,
        title=video.title,
        category=video.category,
        poster_url=video.poster_url,
        score=0.97 - 0.02 * rank,
        explanation=Explanation(stage="index", modalities=shares),
    )


@contextmanager
def made_page(videos: int = 240) -> Iterator[str]:
    """Serve the page with made answers on a port of its own, and yield its address."""
    with running(made_api(videos)) as url:
        yield url
