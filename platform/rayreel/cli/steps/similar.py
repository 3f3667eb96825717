"""Videos similar to one of the release or to a file, from the promoted release on disk."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from rayreel.cli.output import console, step
from rayreel.cli.steps.local import embed_file, local_release
from rayreel.client.messages import RecommendRequest, Result
from rayreel.recommendation.results import RankedVideo
from rayreel.settings import Settings


def find_similar(settings: Settings, query: str, k: int) -> dict[str, Any]:
    """Show the k videos most similar to a video of the release or, if it has none of that id, to a file.

    Returns the result for --json.
    """
    release = local_release(settings)
    if query not in release.live and Path(query).is_file():
        step(f"Encoding {query} with the encoders of release {release.version.number}")
        vector_D = embed_file(settings, release, Path(query))
        request = RecommendRequest(embedding=vector_D.tolist(), top_k=k)
    else:
        request = RecommendRequest(video_id=query, top_k=k)
    found = release.recommend(request)
    console.print(results_table(f"Similar to {query} · release {found.release}", found))
    results = [{name: getattr(video, name) for name in ("video_id", "score", "title", "category")} for video in found]
    return {"release": found.release, "query": query, "results": results}


def results_table(title: str, results: Iterable[RankedVideo | Result], score: str = "score") -> Table:
    """Return results as a table, best first; `score` heads the column of their scores."""
    table = Table(score, "video_id", "category", "title", title=escape(title), title_justify="left")
    for found in results:
        table.add_row(f"{found.score:.3f}", *map(escape, (found.video_id, found.category, found.title)))
    return table
