"""The common way to serve: one FastAPI process with encoders, tower and all embeddings, which it searches with NumPy.

Its route /prepared returns a prepared response: what HTTP and FastAPI alone allow.
"""

import json
import sys
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, UploadFile
from numpy.typing import NDArray
from pydantic import BaseModel

from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoders
from rayreel.media.clip import Clip
from rayreel.media.decode import decode_file
from rayreel.settings import Settings
from rayreel.tower.embed import embed_query
from rayreel.tower.save import load_tower


class BareQuery(BaseModel):
    """A query by id."""

    video_id: str
    top_k: int = 10


class BareResult(BaseModel):
    """One similar video."""

    video_id: str
    score: float
    title: str


def bare_app(folder: Path) -> FastAPI:
    """Return the application over embeddings.npy, ids.json, settings.json and a saved tower in a folder.

    Its handlers block the event loop while they compute, as is common.
    """
    embeddings_ND, ids = np.load(folder / "embeddings.npy"), json.loads((folder / "ids.json").read_text())
    settings, tower = Settings(**json.loads((folder / "settings.json").read_text())), load_tower(folder)
    encoders = load_encoders(settings.encoders, settings.weights_cache)
    row_of = {video_id: row for row, video_id in enumerate(ids)}
    app = FastAPI()

    def results(query_D: NDArray[np.float32], top_k: int, leave_out: int | None = None) -> list[BareResult]:
        found = nearest(embeddings_ND, query_D, top_k, leave_out)
        return [BareResult(video_id=ids[row], score=score, title=f"video {ids[row]}") for row, score in found]

    prepared = results(embeddings_ND[0], 10)

    @app.post("/prepared")
    async def send_prepared(query: BareQuery) -> list[BareResult]:
        return prepared

    @app.post("/recommend")
    async def recommend(query: BareQuery) -> list[BareResult]:
        if (row := row_of.get(query.video_id)) is None:
            raise HTTPException(404, "There is no such video.")
        return results(embeddings_ND[row], query.top_k, leave_out=row)

    @app.post("/recommend/upload")
    async def recommend_upload(file: UploadFile) -> list[BareResult]:
        path = folder / "upload.mp4"
        path.write_bytes(await file.read())
        clip = decode_file(path, settings.sampling, encoders.visual.frame_size, settings.limits)
        if not isinstance(clip, Clip):
            raise HTTPException(422, "The video cannot be decoded.")
        vectors = {Modality.VISUAL: encoders.visual.encode(clip.frames)}
        if clip.windows is not None:
            vectors[Modality.AUDIO] = encoders.audio.encode(clip.windows)
        return results(embed_query(tower, vectors), 10)

    return app


def nearest(
    embeddings_ND: NDArray[np.float32], query_D: NDArray[np.float32], top_k: int, leave_out: int | None = None
) -> list[tuple[int, float]]:
    """Return rows and scores of the `top_k` nearest videos, best first, without the row `leave_out`."""
    scores_N = embeddings_ND @ query_D
    if leave_out is not None:
        scores_N[leave_out] = -np.inf
    top_k = min(top_k, len(scores_N) - (leave_out is not None))
    best_K = np.argpartition(-scores_N, top_k - 1)[:top_k]
    return [(int(row), float(scores_N[row])) for row in best_K[np.argsort(-scores_N[best_K])]]


if __name__ == "__main__":
    uvicorn.run(bare_app(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
