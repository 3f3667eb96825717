"""Videos similar to one of the release or to a file, from the promoted release on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rayreel.cli.output import console, step
from rayreel.cli.results import results_table
from rayreel.cli.steps.local import encode_video, local_release, query_video
from rayreel.client.messages import RecommendRequest, UploadQuery
from rayreel.media.pictures import PictureKind, Pictures
from rayreel.recommendation.local import LocalRelease
from rayreel.recommendation.recommend import parsed
from rayreel.recommendation.results import RankedResults, RankedVideo
from rayreel.settings import Settings, nested
from rayreel.storage import Storage


def query_options(items: Sequence[str]) -> dict[str, Any]:
    """Return the options of a query that were passed as NAME=VALUE. Raises SettingsError."""
    return nested(items, "--option", "name=value, such as diversity=0.3")


def find_similar(settings: Settings, query: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Show the videos most similar to a video of the release or, if it has none of that id, to a file.

    `options` are the fields of `RecommendOptions`. Returns the result for --json.
    """
    release = local_release(settings)
    if query not in release.live and Path(query).is_file():
        found = _similar_to_file(settings, release, Path(query), options)
    else:
        found = release.recommend(parsed(RecommendRequest, {"video_id": query, **options}))
    title = f"Similar to {query} · release {found.release}"
    console.print(results_table(title, found, poster=lambda video: poster_of(settings.place, video.content_hash)))
    return {"release": found.release, "query": query, "results": [_shown(video) for video in found]}


def _similar_to_file(
    settings: Settings, release: LocalRelease, file: Path, options: Mapping[str, Any]
) -> RankedResults:
    video = query_video(file)
    query = parsed(UploadQuery, {"title": video.title, **options})
    step(f"Encoding {file} with the encoders of release {release.version.number}")
    return release.recommend_file(encode_video(settings, release, video), query)


def _shown(video: RankedVideo) -> dict[str, Any]:
    shown = {name: getattr(video, name) for name in ("video_id", "score", "title", "category", "has_video")}
    if video.explanation is None:
        return shown
    passage = video.explanation.passage
    return shown | {"explanation": video.explanation._asdict() | {"passage": asdict(passage) if passage else None}}


def poster_of(storage: Storage, content_hash: str | None) -> bytes | None:
    """Return the poster of a video below a storage root; None if there is none."""
    return Pictures(storage).read(content_hash, PictureKind.POSTER) if content_hash else None
