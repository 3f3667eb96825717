"""Videos similar to one of the release or to a file, from the promoted release on disk."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from rayreel.cli.output import console, step
from rayreel.cli.steps.local import encode_video, local_release, query_video
from rayreel.client.messages import Explanation, RecommendRequest, Result, UploadQuery
from rayreel.recommendation.local import LocalRelease
from rayreel.recommendation.recommend import parsed
from rayreel.recommendation.results import RankedResults, RankedVideo, ResultExplanation
from rayreel.settings import Settings, nested


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
    console.print(results_table(f"Similar to {query} · release {found.release}", found))
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


def results_table(title: str, results: Iterable[RankedVideo | Result], score: str = "score") -> Table:
    """Return results as a table, best first; `score` heads the column of their scores.

    Explained results have their stage, the cosine of each modality and the passage in which the words are said.
    """
    found = list(results)
    explained = any(video.explanation for video in found)
    columns = (score, "video_id", "category", "title", *(("explanation",) if explained else ()))
    table = Table(*columns, title=escape(title), title_justify="left")
    for video in found:
        words = video.explanation and _explained(video.explanation)
        cells = [video.video_id, video.category, video.title, *([" ".join(words)] if words else [])]
        table.add_row(f"{video.score:.3f}", *map(escape, cells))
    return table


def _explained(why: ResultExplanation | Explanation) -> list[str]:
    said = [f'{why.passage.start_s:.1f} s "{why.passage.text}"'] if why.passage else []
    return [why.stage, *map(_cosine, why.modalities.items()), *said]


def _cosine(of: tuple[str, float]) -> str:
    modality, cosine = of
    return f"{modality} {cosine:.2f}"
