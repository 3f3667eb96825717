"""Running simulations and replays, and showing their tables."""

import uuid
from contextlib import suppress

from rich.table import Table

from rayreel.catalog.interactions import read_interactions
from rayreel.cli.output import console, emit, facts, step
from rayreel.client.client import ApiError, Client
from rayreel.simulation.replay import replay
from rayreel.simulation.rounds import simulate


def simulate_people(
    url: str, key: str | None, people: int, rounds: int, visits: int, top_k: int, drift: float, seed: int
) -> None:
    """Simulate people, print a row per policy and round, and delete their users."""
    name = f"simulated-{uuid.uuid4().hex[:8]}"
    step(f"{people} people visit {url} {visits} times in each of {rounds} rounds")
    table = Table("policy", "round", "CTR", "± 95 %", "coverage", "Gini", title="Views per result shown")
    results = []
    with Client(url, key) as client:
        for found in simulate(
            client, name, people=people, rounds=rounds, visits=visits, top_k=top_k, drift=drift, seed=seed
        ):
            results.append(found)
            figures = (f"{value:.3f}" for value in (found.ctr, found.margin, found.coverage, found.gini))
            table.add_row(found.policy, str(found.number), *figures)
        with suppress(ApiError):  # a key with the scope write may not delete users; they do no harm
            for number in range(people):
                client.delete_user(f"{name}-user-{number:04}")
    console.print(table)
    emit({"rounds": [found._asdict() for found in results]})


def replay_log(url: str, key: str | None, log: str, first: float, most: int, top_k: int, seed: int) -> None:
    """Replay a log and print the hit rates."""
    name = f"replayed-{uuid.uuid4().hex[:8]}"
    step(f"Replaying {log} at {url}: {first:.0%} of the events, then a request before each of up to {most:,}")
    with Client(url, key) as client:
        found = replay(client, read_interactions(log), name, first=first, most=most, top_k=top_k, seed=seed)
    rates = zip(("service", "popularity", "random"), found[3:6], found.errors, strict=True)
    shown = {f"hit rate@{found.top_k}, {way}": f"{rate:.4f} ± {error:.4f}" for way, rate, error in rates}
    console.print(facts("Replay", {"requests": found.asked, "users": found.users, **shown}))
    emit(found._asdict())
