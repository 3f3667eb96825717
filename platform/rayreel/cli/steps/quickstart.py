"""The quickstart: every step from a catalog to an answer over HTTP."""

import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rayreel.catalog.read import read_catalog
from rayreel.cli.output import console, facts, note, print_error, step
from rayreel.cli.results import results_table
from rayreel.cli.steps.cluster import use_cluster
from rayreel.cli.steps.evaluate import evaluate_tower
from rayreel.cli.steps.extract import as_dict, extract_features
from rayreel.cli.steps.map import make_map
from rayreel.cli.steps.promote import promote_tower, site_of
from rayreel.cli.steps.sample import make_sample, sample_folder
from rayreel.cli.steps.serve import serve
from rayreel.cli.steps.similar import poster_of
from rayreel.cli.steps.train import by_recipe, features, train_tower, trained_already
from rayreel.client.client import Client
from rayreel.errors import RayreelError
from rayreel.recommendation.config import Layout
from rayreel.recommendation.layout import LayoutUnavailable
from rayreel.release import registry
from rayreel.release.gates import PromotionRefused
from rayreel.release.promote import is_current
from rayreel.release.registry import Version
from rayreel.settings import Settings
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.tower import VideoTower
from rayreel.training.frozen import NoLabels
from rayreel.training.tracking import use_tracking

T = TypeVar("T")
# For the sample set, which has categories and viewers. A step of its few videos teaches little, hence small batches.
# Nothing is said in it.
SAMPLE_SETTINGS = (
    "pairs.label=1",
    "pairs.co_watched=1",
    "train.batch_size=32",
    "train.learning_rate=0.003",
    # By its few viewers, a lead over frozen features of 0.05 has p 0.06.
    "release.gates.metrics=[category/ndcg@10]",
    "speech.mode=off",
)
FROZEN = "train.recipe=frozen"
FIRST = "quickstart: the first release, where nothing serves yet"


class StepFailed(RayreelError):
    """A step of the quickstart failed."""


class StepRunner:
    """Runs steps by name and records the seconds that each took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, name: str, action: Callable[[], T]) -> T:
        """Run one step. Raises StepFailed for every failure; one that is not a RayreelError is printed in full."""
        started = time.monotonic()
        console.rule(name, align="left")
        try:
            result = action()
        except Exception as error:
            if not isinstance(error, RayreelError):
                console.print_exception(max_frames=6, extra_lines=1)
            raise StepFailed(
                f"step {name}: {type(error).__name__}: {error}\nThe steps before it are finished and kept. Fix the "
                "problem and run the same command again to continue from here."
            ) from error
        self.seconds[name] = round(time.monotonic() - started, 1)
        return result


def run_quickstart(
    settings: Settings, catalog: str | None, config: Path | None, sets: list[str], port: int | None
) -> dict[str, Any]:
    """Run all steps; `catalog` None: with a rendered sample set. Return the result for --json."""
    use_tracking(settings.place)
    steps = StepRunner()
    dashboard = steps.run("cluster", lambda: use_cluster(settings))
    source = catalog or str(steps.run("sample", lambda: make_sample(settings, sample_folder(settings))))
    if catalog is None and settings.interactions is None:
        settings = settings.model_copy(
            update={"interactions": str(Path(source).absolute().with_name("interactions.csv"))}
        )
    extracted = steps.run("extract", lambda: extract_features(settings, read_catalog(source, settings.limits)))
    version = steps.run("train", lambda: _tower(settings))
    if settings.train.recipe != "frozen":  # answers at once; the gates of the promotion measure the same
        steps.run("evaluate", lambda: evaluate_tower(settings, version))
    version = steps.run("promote", lambda: release(settings, version))
    steps.run("map", lambda: _map(settings))
    url = steps.run("serve", lambda: serve(settings, config, sets, port))
    answer = steps.run("recommend", lambda: _recommend(settings, url))
    console.print(facts("Seconds", {name: f"{seconds:.1f}" for name, seconds in steps.seconds.items()}))
    _show_addresses(settings, url, dashboard)
    urls = {"url": url, "dashboard": dashboard}
    return {"seconds": steps.seconds, "extract": as_dict(extracted), "version": version.number, **urls, **answer}


def _show_addresses(settings: Settings, url: str, dashboard: str) -> None:
    tracking = shlex.quote(use_tracking(settings.place))
    note(f"Page     {url}/")
    note(f"API      {url}/docs")
    note(f"Ray      {dashboard}")
    note(f"MLflow   {_program('mlflow')} ui --backend-store-uri {tracking}")
    note(f"Stop     {_program('ray')} stop")


def _program(name: str) -> str:
    """Return how to start a program of this environment: its name if the shell finds it, or its path."""
    path, found = Path(sys.executable).parent / name, shutil.which(name)
    if not path.exists() or (found and path.samefile(found)):
        return name
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def _tower(settings: Settings) -> Version:
    earlier = trained_already(settings, features(settings))
    if earlier is None:
        return train_tower(settings).version
    step(f"Keeping version {earlier.number}, which was made from exactly these features with these settings")
    return earlier


def release(settings: Settings, version: Version) -> Version:
    """Promote the version and return the one that serves.

    If the gates refuse it, the champion keeps serving, with an index of exactly these features; without a champion,
    features with a classifier of the categories or frozen features serve, which need no training.
    """
    site = site_of(settings)
    if is_current(version, site):
        step(f"Version {version.number} serves already, with an index of exactly these features")
        return version
    champion = site.champion()
    if not _is_refused(settings, version):
        return version
    if champion is None:
        return _first(settings, version)
    step(f"Version {champion.number} keeps serving, with an index of exactly these features")
    if not is_current(champion, site):
        promote_tower(settings, champion)
    return champion


def _first(settings: Settings, refused: Version) -> Version:
    """Serve what needs less training instead of a refused first version; frozen features despite their gates."""
    kind = registry.load(refused).kind
    if kind == FrozenFeatures.kind:
        step("Promoting these first features despite their gates, because nothing serves yet")
        promote_tower(settings, refused, force=FIRST)
        return refused
    step(f"Nothing shows that version {refused.number} is better than features without training")
    probe, frozen = (by_recipe(settings, recipe) for recipe in ("probe", "frozen"))
    if kind == VideoTower.kind:
        try:
            return release(probe, _tower(probe))
        except NoLabels as reason:
            note(f"No classifier: {reason}")
    return release(frozen, _tower(frozen))


def _map(settings: Settings) -> None:
    try:
        make_map(settings, Layout.TSNE)
    except LayoutUnavailable as error:  # of a catalog of a few videos
        note(str(error))


def _is_refused(settings: Settings, version: Version) -> bool:
    """Promote; True if quality gates refused. A refusal by any other gate is raised and stops the quickstart."""
    try:
        promote_tower(settings, version)
    except PromotionRefused as refused:
        if any(not gate.passed and not gate.quality for gate in refused.gates):
            raise
        print_error(refused)
        return True
    return False


def _recommend(settings: Settings, url: str) -> dict[str, Any]:
    """Ask for videos like the first one, and show the answer and the same request for curl."""
    videos = features(settings).read(["video_id", "title", "category", "content_hash"])
    query = videos.slice(0, 1).to_pylist()[0]
    with Client(url) as client:
        answer = client.recommend(video_id=query["video_id"], top_k=5)
    about = f"{query['video_id']} ({query['category']})" if query["category"] else query["video_id"]
    about += f": {query['title']}" if query["category"] and query["title"] else ""
    hashes = dict(zip(videos["video_id"].to_pylist(), videos["content_hash"].to_pylist(), strict=True))
    console.print(
        results_table(
            f"More like {about} · release {answer.release}",
            answer.results,
            poster=lambda found: poster_of(settings.place, hashes.get(found.video_id)),
        )
    )
    body = json.dumps({"video_id": query["video_id"], "top_k": 5})
    note(f"curl -s {url}/v1/recommend -H 'Content-Type: application/json' -d '{body}'")
    results = [{"video_id": found.video_id, "score": found.score} for found in answer.results]
    return {"release": answer.release, "query": query["video_id"], "results": results}
