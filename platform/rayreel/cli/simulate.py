"""`rayreel simulate`: simulated people, or a log of real ones, who use a running service."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Let simulated people, or those of a log, use a running service over HTTP, and measure what it recommends.",
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
