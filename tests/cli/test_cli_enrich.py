"""`rayreel enrich` as a command: what it prints, and how it ends."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from feature_rows import KEY, feature_row, feature_table
from language_model import ANSWER, LanguageModel, language_model
from rayreel.cli.main import app
from rayreel.enrichment.endpoint import EndpointStopped
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.settings import SettingsError
from rayreel.storage import Storage


@pytest.fixture
def endpoint() -> Iterator[LanguageModel]:
    with language_model() as server:
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = FeatureStore(Storage(tmp_path / "state"), KEY)
    store.create()
    store.add(feature_table(*map(feature_row, "abc")), QUARANTINE.empty_table())
    store.set_catalog([(name, "1") for name in "abc"])
    return tmp_path / "state"


def enrich(root: Path, endpoint: LanguageModel, *words: str) -> Result:
    options = ["--url", endpoint.url, "--model", "4.1", "--storage", str(root)]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["enrich", *options, *words])


def result_of(done: Result) -> dict[str, object]:
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_command_reports_what_was_asked_and_what_it_cost(root: Path, endpoint: LanguageModel) -> None:
    prices = ["--set", "enrich.price_in=1000", "--set", "enrich.price_out=10000"]
    done = enrich(root, endpoint, "--limit", "2", *prices, "--json")
    assert done.exit_code == 0, done.output
    found = result_of(done)
    assert (found["enriched"], found["left"], found["written"], found["cost"]) == (2, 1, 2, pytest.approx(0.6))
    assert {body["model"] for body in endpoint.asked} == {"4.1"}
    assert "rayreel index" in enrich(root, endpoint).output.replace("\n", " ")
    assert len(endpoint.asked) == 3


def test_an_estimate_asks_nothing(root: Path, endpoint: LanguageModel) -> None:
    found = result_of(enrich(root, endpoint, "--estimate", "--set", "enrich.price_in=1000", "--json"))
    assert found["requests"] == 3 and found["received"] == 1500 and not endpoint.asked


def test_failures_are_listed_with_their_videos(root: Path, endpoint: LanguageModel) -> None:
    endpoint.respond = lambda _: (200, "no JSON")
    done = enrich(root, endpoint)
    assert done.exit_code == 0 and "  b: not a valid answer" in done.output


def test_answers_before_an_endpoint_stops_are_stored(root: Path, endpoint: LanguageModel) -> None:
    endpoint.respond = lambda _: (200, json.dumps(ANSWER)) if len(endpoint.asked) < 2 else (401, "no")
    done = enrich(root, endpoint, "--set", "enrich.concurrency=1")
    assert isinstance(done.exception, EndpointStopped)
    (store,) = (FeatureStore(Storage(root), KEY),)
    assert store.read(["summary"])["summary"].to_pylist().count(ANSWER["summary"]) == 1


def test_videos_with_few_views_come_first_and_others_can_be_left_out(
    root: Path, endpoint: LanguageModel, tmp_path: Path
) -> None:
    (tmp_path / "views.csv").write_text("user_id,video_id,timestamp\nu,a,1\nu,a,2\nu,b,3\n")
    views = ["--interactions", str(tmp_path / "views.csv"), "--set", "enrich.concurrency=1"]
    assert enrich(root, endpoint, *views, "--set", "enrich.max_views=1").exit_code == 0
    assert endpoint.titles() == ["film c", "film b"]
    assert isinstance(enrich(root, endpoint, "--set", "enrich.max_views=1").exception, SettingsError)
