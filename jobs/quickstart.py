"""From nothing to recommendations over HTTP, on this machine."""

import json
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from cluster import use_cluster
from command import ConfigFile, Port, Sets, StorageRoot, console, facts, features, run, step, tell
from evaluate import evaluate_tower
from extract import extract_features
from promote import promote_tower, site_of
from rayreel.catalog.read import read_catalog
from rayreel.client.client import Client
from rayreel.errors import RayreelError
from rayreel.release.gates import PromotionRefused
from rayreel.release.promote import is_current
from rayreel.release.registry import Version
from rayreel.settings import Settings, load_settings
from rayreel.training.tracking import use_tracking
from sample import make_sample, sample_folder
from serve import serve
from train import train_tower, trained_already

T = TypeVar("T")
FIRST = "quickstart: the first tower, where nothing serves yet"


class StepFailed(RayreelError):
    """A step of the quickstart that did not succeed."""


def main(
    catalog: Annotated[
        str | None, typer.Option(help="Folder of videos or manifest. [default: a rendered sample set]")
    ] = None,
    port: Port = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """From a catalog to recommendations over HTTP: extract, train, evaluate, promote, serve, ask.

    A second run reuses what is done. The service is left running at the end; `make stop` ends it.
    """
    settings = load_settings(config, sets or [], storage)
    use_tracking(settings.place)
    seconds: dict[str, str] = {}

    def doing(name: str, action: Callable[[], T]) -> T:
        with _timed(name, seconds):
            return action()

    dashboard = doing("cluster", lambda: use_cluster(settings))
    source = catalog or str(doing("sample", lambda: make_sample(settings, sample_folder(settings))))
    doing("extract", lambda: extract_features(settings, read_catalog(source, settings.limits)))
    version = doing("train", lambda: _tower(settings))
    doing("evaluate", lambda: evaluate_tower(settings, version))
    doing("promote", lambda: release(settings, version))
    url = doing("serve", lambda: serve(settings, config, sets or [], port))
    doing("ask", lambda: _ask(settings, url))
    console.print(facts("Seconds", seconds))
    console.print(f"Service  {url}/docs", highlight=False)
    console.print(f"Ray      {dashboard}", highlight=False)
    tracking = shlex.quote(use_tracking(settings.place))
    console.print(f"MLflow   .venv/bin/mlflow ui --backend-store-uri {tracking}", markup=False, highlight=False)
    console.print("Stop     make stop", highlight=False)


@contextmanager
def _timed(name: str, seconds: dict[str, str]) -> Iterator[None]:
    started = time.monotonic()
    console.rule(name, align="left")
    try:
        yield
    except Exception as error:
        if not isinstance(error, RayreelError):
            console.print_exception(max_frames=6, extra_lines=1)
        raise StepFailed(
            f"step {name}: {type(error).__name__}: {error}\nThe steps before it are done and kept: mend this and run "
            "the same command again to go on from here."
        ) from error
    seconds[name] = f"{time.monotonic() - started:.1f}"


def _tower(settings: Settings) -> Version:
    done = trained_already(settings, features(settings))
    if done is not None:
        step(f"Version {done.number} was trained on exactly these features with these settings: kept")
    return done or train_tower(settings)


def release(settings: Settings, version: Version) -> None:
    """Promote; where a champion serves and is better, it goes on, with an index of exactly these features."""
    site = site_of(settings)
    if is_current(version, site):
        step(f"Version {version.number} serves already, with an index of exactly these features: kept")
        return
    champion, refused = site.champion(), _refused(settings, version)
    if refused and champion is None:
        step("Nothing serves yet, so that this first tower does, against its gates")
        promote_tower(settings, version, force=FIRST)
    elif refused and champion:
        step(f"Version {champion.number} goes on serving, with an index of exactly these features")
        if not is_current(champion, site):
            promote_tower(settings, champion)


def _refused(settings: Settings, version: Version) -> bool:
    """Promote; whether gates on quality refused. Whatever else refuses stops the quickstart."""
    try:
        promote_tower(settings, version)
    except PromotionRefused as refused:
        if any(not gate.passed and not gate.quality for gate in refused.gates):
            raise
        tell(refused)
        return True
    return False


def _ask(settings: Settings, url: str) -> None:
    rows = features(settings).read(["video_id", "title", "category"])
    query = rows.slice(0, 1).to_pylist()[0]
    with Client(url) as client:
        answer = client.recommend(video_id=query["video_id"], top_k=5)
    table = Table("score", "video_id", "category", "title", title_justify="left")
    table.title = f"More like {query['video_id']} ({query['category']}): {query['title']} · release {answer.release}"
    for result in answer.results:
        table.add_row(f"{result.score:.3f}", result.video_id, result.category, result.title)
    console.print(table)
    body = json.dumps({"video_id": query["video_id"], "top_k": 5})
    console.print(f"curl -s {url}/v1/recommend -H 'Content-Type: application/json' -d '{body}'", highlight=False)


if __name__ == "__main__":
    run(main)
