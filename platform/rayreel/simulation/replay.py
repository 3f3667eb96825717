"""A replay: real people's events in time order, with a recommendation before each of them."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.random import Generator

from rayreel.client.client import Client
from rayreel.client.events import MOST_EVENTS
from rayreel.errors import RayreelError

Row = Mapping[str, Any]


class NothingToReplay(RayreelError):
    """The log has no events of the service's videos after those that are known from the start."""


class ReplayResult(NamedTuple):
    """Requests before real events: how many, and the shares whose list had the video that came next.

    `popularity` and `random` lists are made here, without what the user has watched. `errors` are half of the 95 %
    intervals of the three, over users.
    """

    asked: int
    users: int
    top_k: int
    service: float
    popularity: float
    random: float
    errors: tuple[float, float, float]


def replay(client: Client, log: pa.Table, name: str, *, first: float, most: int, top_k: int, seed: int) -> ReplayResult:
    """Send the first share of a log, then ask for each of the next `most` events' users, and send the event.

    `log` has the columns of `catalog.interactions.SCHEMA`; users are called `name-…` in the service.

    Raises:
        NothingToReplay: no events are left.
        ApiError: the service does not answer.
    """
    known = {video.video_id for video in client.videos(page=1000)}
    rows = [row for row in log.sort_by("timestamp").to_pylist() if row["video_id"] in known]
    start = int(first * len(rows))
    if not rows[start : start + most]:
        raise NothingToReplay(
            "No events are left to ask before. Give a log of this service's videos, or a lower --first."
        )
    counts, seen = _sent(client, rows[:start], name)
    hits: defaultdict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
    rng, videos = np.random.default_rng(seed), sorted(known)
    for row in rows[start : start + most]:
        user, video = row["user_id"], row["video_id"]
        found = client.recommend(user={"user_id": f"{name}-{user}"}, top_k=top_k)
        lists = [result.video_id for result in found.results], _popular(counts, seen[user], top_k)
        hits[user].append((video in lists[0], video in lists[1], video in _random(videos, seen[user], top_k, rng)))
        client.send_events([_event(row, name)])
        counts[video] += 1
        seen[user].add(video)
    return summed(hits, top_k)


def _sent(client: Client, rows: list[Row], name: str) -> tuple[dict[str, int], defaultdict[str, set[str]]]:
    """Send events in batches; return the views of each video and the videos of each user."""
    counts: defaultdict[str, int] = defaultdict(int)
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for start in range(0, len(rows), MOST_EVENTS):
        part = rows[start : start + MOST_EVENTS]
        client.send_events([_event(row, name) for row in part])
        for row in part:
            counts[row["video_id"]] += 1
            seen[row["user_id"]].add(row["video_id"])
    return counts, seen


def _event(row: Row, name: str) -> dict[str, Any]:
    kind = {"type": "view"} if row["rating"] is None else {"type": "rating", "value": float(row["rating"])}
    of = {"user_id": f"{name}-{row['user_id']}", "video_id": row["video_id"], "at": row["timestamp"].timestamp()}
    return {**of, **kind}


def _popular(counts: Mapping[str, int], seen: set[str], top_k: int) -> list[str]:
    return sorted((video for video in counts if video not in seen), key=lambda video: -counts[video])[:top_k]


def _random(videos: list[str], seen: set[str], top_k: int, rng: Generator) -> list[str]:
    open_videos = [video for video in videos if video not in seen]
    return [open_videos[place] for place in rng.permutation(len(open_videos))[:top_k]]


def summed(hits: Mapping[str, list[tuple[bool, bool, bool]]], top_k: int) -> ReplayResult:
    """Return the hit rates of each user's requests, as (service, popularity, random)."""
    asked = sum(map(len, hits.values()))
    sums_UM = np.array([np.sum(of_user, axis=0) for of_user in hits.values()], np.float64)
    counts_U = np.array([len(of_user) for of_user in hits.values()], np.float64)
    rates_M = sums_UM.sum(axis=0) / asked
    # The variance of a ratio of sums over users, who are independent; requests of one user are not.
    residuals_UM = sums_UM - counts_U[:, None] * rates_M
    errors_M = 1.96 * np.sqrt((residuals_UM**2).sum(axis=0)) / asked
    service, popularity, random = rates_M.tolist()
    return ReplayResult(asked, len(hits), top_k, service, popularity, random, tuple(errors_M.tolist()))
