"""The common way of serving: one FastAPI process, all embeddings in NumPy, every request searches them all."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException
from numpy.typing import NDArray
from pydantic import BaseModel, Field

EMBEDDINGS, IDS = "embeddings.npy", "ids.txt"


class Query(BaseModel):
    """What is asked."""

    video_id: str
    top_k: Annotated[int, Field(ge=1, le=200)] = 10


class Recommendation(BaseModel):
    """One video like the query's."""

    video_id: str
    score: float
    title: str


class Recommendations(BaseModel):
    """The answer."""

    results: list[Recommendation]


def write_data(folder: Path, ids: list[str], embeddings_ND: NDArray[np.float32]) -> None:
    """What `bare` serves."""
    np.save(folder / EMBEDDINGS, embeddings_ND)
    (folder / IDS).write_text("\n".join(ids))


def bare(folder: Path) -> FastAPI:
    """The application over a folder that `write_data` wrote. Its search blocks the event loop, as is common."""
    embeddings_ND = np.load(folder / EMBEDDINGS)
    ids = (folder / IDS).read_text().split("\n")
    place = {video_id: i for i, video_id in enumerate(ids)}
    app = FastAPI()

    @app.post("/recommend")
    async def recommend(query: Query) -> Recommendations:
        if query.video_id not in place:
            raise HTTPException(404, "no such video")
        found = nearest(embeddings_ND, place[query.video_id], query.top_k)
        return Recommendations(
            results=[Recommendation(video_id=ids[i], score=score, title=f"video {ids[i]}") for i, score in found]
        )

    return app


def nearest(embeddings_ND: NDArray[np.float32], asked: int, top_k: int) -> list[tuple[int, float]]:
    """Places and scores of the videos most like the one at `asked`, best first, never itself."""
    scores_N = embeddings_ND @ embeddings_ND[asked]
    scores_N[asked] = -np.inf
    top_k = min(top_k, len(scores_N) - 1)
    best_K = np.argpartition(-scores_N, top_k)[:top_k]
    best_K = best_K[np.argsort(-scores_N[best_K])]
    return [(int(i), float(scores_N[i])) for i in best_K]


if __name__ == "__main__":
    uvicorn.run(bare(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
