"""`rayreel simulate`: simulated people, or a log of real ones, who use a running service or a release."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Let simulated people, or those of a log, use a service or a release, and measure what it recommends.",
)
Url = Annotated[str, typer.Option(help="Address of the service.")]
ApiKey = Annotated[str | None, typer.Option(envvar="RAYREEL_API_KEY", help="A key with the scope write.")]
TopK = Annotated[int, typer.Option(help="Results of each request.", min=1, max=200)]
Seed = Annotated[int, typer.Option(help="The same seed gives the same people.")]


@app.command()
def people(
    url: Url = "http://127.0.0.1:8000",
    count: Annotated[int, typer.Option("--people", help="People, each with favourite categories.", min=2)] = 40,
    rounds: Annotated[int, typer.Option(help="Rounds; tastes change a little between them.", min=1)] = 5,
    visits: Annotated[int, typer.Option(help="Visits of each person in a round.", min=1)] = 3,
    top_k: TopK = 10,
    drift: Annotated[
        float, typer.Option(help="Chance to change a favourite category after a round.", min=0, max=1)
    ] = 0.1,
    seed: Seed = 0,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """People with tastes visit, look, watch and like. Compares random, popular, similar and user recommendations.

    Everyone visits each way once, with the same tastes and without knowing of the other visits. Their users in the
    service begin with `simulated-` and are deleted at the end.
    """
    from rayreel.cli.steps.simulate import simulate_people

    simulate_people(url, key, count, rounds, visits, top_k, drift, seed)


@app.command()
def rounds(
    people: Annotated[int, typer.Option(help="People, each with favourite categories.", min=2)] = 200,
    count: Annotated[int, typer.Option("--rounds", help="Rounds after one with any videos.", min=1)] = 5,
    visits: Annotated[int, typer.Option(help="Visits of each person in a round.", min=1)] = 3,
    top_k: TopK = 10,
    drift: Annotated[
        float, typer.Option(help="Chance to change a favourite category after a round.", min=0, max=1)
    ] = 0.1,
    explore: Annotated[
        float, typer.Option(help="Closed loop: chance of each result to be another candidate.", min=0, max=1)
    ] = 0.1,
    gate: Annotated[bool, typer.Option(help="Whether a tower serves only if it is better on its own views.")] = True,
    seed: Seed = 0,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Retrain after every round on what the loop's own people did, and compare with policies that do not.

    Runs on the promoted release in this process, without a service. All begin with a round of any videos. The closed
    loop trains a user tower after every round, on what came before; `user tower` only after the first one.
    """
    from rayreel.cli.steps.simulate import simulate_rounds
    from rayreel.simulation.retraining import Retraining

    plan = Retraining(people, count, visits, top_k, drift, explore, seed, gate)
    simulate_rounds(load_settings(config, sets or [], storage), plan)


@app.command()
def replay(
    log: Annotated[str, typer.Argument(help="Interactions as for `rayreel import`, with ids of the service's videos.")],
    url: Url = "http://127.0.0.1:8000",
    first: Annotated[
        float, typer.Option(help="Share of the events that are known from the start.", min=0, max=1)
    ] = 0.8,
    most: Annotated[int, typer.Option(help="Events to ask before.", min=1)] = 2000,
    top_k: TopK = 10,
    seed: Seed = 0,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Send a log's events in time order, ask for a recommendation before each, and count how often it has the video.

    Their users in the service begin with `replayed-` and are not deleted.
    """
    from rayreel.cli.steps.simulate import replay_log

    replay_log(url, key, log, first, most, top_k, seed)
