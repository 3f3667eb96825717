"""The highest request rate that a server holds, and the requests that it gets."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.load import LoadOutcome

IdLaw = Literal["uniform", "zipf"]


def highest_rate(
    drive: Callable[[float], LoadOutcome], start: float, p99_ms: float, *, factor: float = 1.25, precision: float = 0.12
) -> float:
    """Return the highest rate held to a relative `precision`; 0 if even a tenth of `start` is not held.

    A rate is held if no request fails and the p99 of the latency is at most `p99_ms`. The rate rises by `factor` until
    it is not held, then the interval is bisected. A rate that fails is tried a second time, because other work on the
    machine may have disturbed the first.
    """

    def held(rate: float) -> bool:
        outcomes = (drive(rate) for _ in range(2))
        return any(outcome.failed == 0 and outcome.quantile_ms(0.99) <= p99_ms for outcome in outcomes)

    low, high = start, start * factor
    while not held(low):
        low, high = low / factor, low
        if low < start / 10:
            return 0.0
    while low >= start and held(high):
        low, high = high, high * factor
    while high / low > 1 + precision:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if held(middle) else (low, middle)
    return low


def draw(law: IdLaw, videos: int, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return `count` row numbers: all equally likely, or the k-th most popular in proportion to k^-1.1."""
    rng = np.random.default_rng(seed)
    if law == "uniform":
        return rng.integers(videos, size=count)
    popularity = np.arange(1, videos + 1) ** -1.1
    rows: NDArray[np.int64] = rng.permutation(videos)[rng.choice(videos, size=count, p=popularity / popularity.sum())]
    return rows


def requests_by_id(path: str, ids: Sequence[str], top_k: int = 10) -> list[bytes]:
    """Return one request per video for its recommendations."""
    return [post(path, json.dumps({"video_id": video_id, "top_k": top_k}).encode()) for video_id in ids]


def upload_request(path: str, content: bytes) -> bytes:
    """Return a request with a video as multipart/form-data (RFC 7578)."""
    mark = "rayreel-benchmark-4f1d8a"
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="v.mp4"\r\nContent-Type: video/mp4\r\n\r\n'
    )
    return post(path, head.encode() + content + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}")


def post(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """Return a whole HTTP/1.1 request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body
