"""Running simulations and replays, and showing their tables."""

import uuid
from contextlib import suppress

from rich.table import Table

from rayreel.catalog.interactions import read_interactions
from rayreel.cli.output import console, emit, facts, step
from rayreel.client.client import ApiError, Client
from rayreel.recommendation.local import load_promoted
from rayreel.settings import Settings
from rayreel.simulation.replay import replay
from rayreel.simulation.retraining import Retraining, leads, simulate_retraining
from rayreel.simulation.rounds import RoundResult, simulate
from rayreel.training.tracking import use_tracking


def simulate_people(
    url: str, key: str | None, people: int, rounds: int, visits: int, top_k: int, drift: float, seed: int
) -> None:
    """Simulate people, print a row per policy and round, and delete their users."""
    name = f"simulated-{uuid.uuid4().hex[:8]}"
    step(f"{people} people visit {url} {visits} times in each of {rounds} rounds")
    table, results = _table(), []
    with Client(url, key) as client:
        for found in simulate(
            client, name, people=people, rounds=rounds, visits=visits, top_k=top_k, drift=drift, seed=seed
        ):
            results.append(found)
            _add(table, found)
        with suppress(ApiError):  # a key with the scope write may not delete users; they do no harm
            for number in range(people):
                client.delete_user(f"{name}-user-{number:04}")
    console.print(table)
    emit({"rounds": [_shown(found) for found in results]})


def simulate_rounds(settings: Settings, plan: Retraining) -> None:
    """Simulate rounds with retraining on the promoted release, and print rows and leads."""
    use_tracking(settings.place)
    snapshot = load_promoted(settings.place, settings.release.snapshot_cache).snapshot
    step(f"{plan.people} people visit release {snapshot.version} in {plan.rounds + 1} rounds, with retraining")
    table, results = _table(), []
    for found in simulate_retraining(snapshot, settings.recommend, settings.user_tower, plan):
        results.append(found)
        _add(table, found)
    console.print(table)
    last = [lead for lead in leads(results) if lead.number == plan.rounds]
    shown = {f"over {lead.over}": f"{lead.value:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}]" for lead in last}
    console.print(facts(f"CTR of the closed loop in round {plan.rounds}", shown))
    emit({"rounds": [_shown(found) for found in results], "leads": [lead._asdict() for lead in leads(results)]})


def _table() -> Table:
    return Table("policy", "round", "CTR", "± 95 %", "nDCG", "coverage", "Gini", title="Views per result shown")


def _add(table: Table, found: RoundResult) -> None:
    figures = (found.ctr, found.margin, found.ndcg, found.coverage, found.gini)
    table.add_row(found.policy, str(found.number), *(f"{value:.3f}" for value in figures))


def _shown(found: RoundResult) -> dict[str, object]:
    return {name: value for name, value in found._asdict().items() if name != "shares"}


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
