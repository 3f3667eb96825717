"""Which videos are asked for, and the requests that ask."""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Law = Literal["uniform", "zipf"]
ZIPF_EXPONENT = 1.1


def draw(law: Law, videos: int, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Places of `count` videos: all equally likely, or by popularity, the k-th most popular in proportion k^-1.1."""
    rng = np.random.default_rng(seed)
    if law == "uniform":
        return rng.integers(videos, size=count)
    popularity = np.arange(1, videos + 1) ** -ZIPF_EXPONENT
    ranks = rng.choice(videos, size=count, p=popularity / popularity.sum())
    places: NDArray[np.int64] = rng.permutation(videos)[ranks]
    return places


def by_id(path: str, ids: Sequence[str], top_k: int = 10, headers: Mapping[str, str] | None = None) -> list[bytes]:
    """One request per video: what is like it?"""
    return [post(path, json.dumps({"video_id": i, "top_k": top_k}).encode(), headers=headers) for i in ids]


def post(
    path: str, body: bytes, content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> bytes:
    """A whole HTTP/1.1 request."""
    lines = {"Host": "127.0.0.1", "Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body
