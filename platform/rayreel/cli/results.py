"""Results of a query as a table, with posters in terminals that can show them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from rich.markup import escape
from rich.table import Table

from rayreel.cli.thumbnails import picture_type, thumbnail

if TYPE_CHECKING:
    from rayreel.client.messages import Explanation, Result
    from rayreel.recommendation.results import RankedVideo, ResultExplanation

T = TypeVar("T", bound="RankedVideo | Result")


def results_table(
    title: str, results: Iterable[T], score: str = "score", poster: Callable[[T], bytes | None] | None = None
) -> Table:
    """Return results as a table, best first; `score` heads the column of their scores.

    Terminals that can show pictures have one per result, from `poster`. Explained results have their stage, the cosine
    of each modality and the passage in which the words are said.
    """
    found = list(results)
    explained = any(video.explanation for video in found)
    pictured = poster is not None and picture_type() is not None
    columns = (score, "video_id", "category", "title", *(("explanation",) if explained else ()))
    table = Table(*([""] if pictured else []), *columns, title=escape(title), title_justify="left")
    for video in found:
        words = video.explanation and _explained(video.explanation)
        cells = [video.video_id, video.category, video.title, *([" ".join(words)] if words else [])]
        picture = [thumbnail(poster(video))] if pictured and poster else []
        table.add_row(*picture, f"{video.score:.3f}", *map(escape, cells))
    return table


def _explained(why: "ResultExplanation | Explanation") -> list[str]:
    said = [f'{why.passage.start_s:.1f} s "{why.passage.text}"'] if why.passage else []
    return [why.stage, *map(_cosine, why.modalities.items()), *said]


def _cosine(of: tuple[str, float]) -> str:
    modality, cosine = of
    return f"{modality} {cosine:.2f}"
