"""`rayreel similar`, `rayreel export` and `rayreel experiment`, from a promoted release on disk."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from event_rows import event_row
from films import write_film
from promoted import RANDOM, Promoted, make_promoted
from rayreel.cli.main import app
from rayreel.cli.steps.export import UnknownFormat
from rayreel.errors import RayreelError
from rayreel.events.config import EventsConfig
from rayreel.events.database import Database
from rayreel.events.write import AnswerRow, add_answers, add_events
from rayreel.experiments.offline import NoPropensities
from rayreel.experiments.plan import FILE as EXPERIMENTS
from rayreel.experiments.plan import BadExperiments
from rayreel.index.search import NoRelease
from rayreel.recommendation.live import UnknownVideo
from rayreel.recommendation.query import BadQuery
from rayreel.recommendation.scenarios import FILE as SCENARIOS
from rayreel.release import registry
from rayreel.release.rows import ReleaseRows
from release_rows import release_row, release_table

SETS = [word for name, value in RANDOM.items() for word in ("--set", f"{name}={json.dumps(value)}")]


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Promoted:
    return make_promoted(tmp_path_factory.mktemp("promoted"))


def invoke(promoted: Promoted, *words: str) -> Result:
    options = ["--storage", promoted.settings.storage, *SETS]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, *options], catch_exceptions=True)


def answer(promoted: Promoted, *words: str) -> dict[str, Any]:
    done = invoke(promoted, *words, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_videos_similar_to_one_of_the_release_are_its_nearest_others(promoted: Promoted) -> None:
    found = answer(promoted, "similar", "v07", "--k", "5")
    ids = [video["video_id"] for video in found["results"]]
    assert ids == promoted.nearest(promoted.embeddings["v07"], 5, without="v07") and found["release"] == 1
    scores = [video["score"] for video in found["results"]]
    assert scores == sorted(scores, reverse=True)


def test_similar_prints_a_table(promoted: Promoted) -> None:
    shown = invoke(promoted, "similar", "v07", "--k", "2").output
    assert "Similar to v07 · release 1" in shown
    assert all(video_id in shown for video_id in promoted.nearest(promoted.embeddings["v07"], 2, without="v07"))


def test_a_file_that_is_in_no_catalog_is_a_query(promoted: Promoted, tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4")
    (tmp_path / "elsewhere").mkdir()
    again = Path(shutil.copy(film, tmp_path / "elsewhere"))
    one, other = (answer(promoted, "similar", str(path), "--k", "4")["results"] for path in (film, again))
    assert len(one) == 4 and one[0]["video_id"] in promoted.embeddings
    assert [video["video_id"] for video in one] == [video["video_id"] for video in other]


@pytest.mark.slow
def test_a_query_by_file_takes_every_option(promoted: Promoted, tmp_path: Path) -> None:
    film = str(write_film(tmp_path / "film.mp4"))
    plain = [video["video_id"] for video in answer(promoted, "similar", film, "--k", "40")["results"]]
    words = ["--option", "filter={category: c1}", "--option", f"exclude=[{plain[0]}]", "--option", "explain=true"]
    found = answer(promoted, "similar", film, "--k", "40", *words)["results"]
    categories = {f"v{n:02}": f"c{n % 4}" for n in range(40)}
    assert [video["video_id"] for video in found] == [v for v in plain[1:] if categories[v] == "c1"]
    assert all(video["explanation"]["stage"] == "index" for video in found)
    assert "index visual" in invoke(promoted, "similar", film, "--option", "explain=true").output
    by_sound, by_words = (
        answer(promoted, "similar", film, "--k", "40", "--option", f"weights.{modality}=1")["results"]
        for modality in ("audio", "text")
    )
    assert [video["video_id"] for video in by_sound] != [video["video_id"] for video in by_words]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("diversity=2", "diversity: "),
        ("colour=red", "colour: "),
        ("filter={colour: red}", r"filter\.colour: "),
        ("diversity", "expected name=value"),
        ("release=7", "Release 1 is loaded here. Ask a service for release 7"),
    ],
)
def test_an_invalid_option_is_named(promoted: Promoted, tmp_path: Path, option: str, message: str) -> None:
    error = invoke(promoted, "similar", str(write_film(tmp_path / "film.mp4")), "--option", option).exception
    assert isinstance(error, RayreelError) and re.search(message, str(error))


def test_a_file_that_is_no_video_is_refused_with_the_reason(promoted: Promoted, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no film")
    error = invoke(promoted, "similar", str(tmp_path / "notes.mp4")).exception
    assert isinstance(error, BadQuery) and "cannot be used as a query: unreadable" in str(error)


def test_neither_a_video_nor_a_file_is_an_error(promoted: Promoted) -> None:
    assert isinstance(invoke(promoted, "similar", "nothing").exception, UnknownVideo)


@pytest.mark.parametrize("name", ["out.parquet", "new/out.csv"])
def test_every_videos_neighbours_are_exported(promoted: Promoted, tmp_path: Path, name: str) -> None:
    result = answer(promoted, "export", "--top", "3", "--to", str(tmp_path / name))
    read = pq.read_table if name.endswith("parquet") else pc.read_csv
    rows = read(tmp_path / name).to_pylist()
    assert result["rows"] == len(rows) == 120 and result["videos"] == 40
    for video_id, embedding in promoted.embeddings.items():
        own = [row for row in rows if row["video_id"] == video_id]
        ids = [row["neighbour_id"] for row in own]
        assert ids == promoted.nearest(embedding, 3, without=video_id) and [row["rank"] for row in own] == [1, 2, 3]
        cosines = [float(embedding @ promoted.embeddings[other]) for other in ids]
        np.testing.assert_allclose([row["score"] for row in own], cosines, atol=1e-5)


def test_more_neighbours_than_the_snapshot_has_are_computed(promoted: Promoted, tmp_path: Path) -> None:
    answer(promoted, "export", "--top", "12", "--to", str(tmp_path / "out.parquet"))
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    own = [row["neighbour_id"] for row in rows if row["video_id"] == "v03"]
    assert own == promoted.nearest(promoted.embeddings["v03"], 12, without="v03")


def test_a_video_added_since_the_snapshot_is_exported_too(tmp_path: Path) -> None:
    promoted = make_promoted(tmp_path)
    twin = release_row("twin", embedding=promoted.embeddings["v03"])
    ReleaseRows(promoted.settings.place, 1).add(release_table(twin))
    assert answer(promoted, "export", "--top", "1", "--to", str(tmp_path / "out.parquet"))["videos"] == 41
    nearest = {row["video_id"]: row["neighbour_id"] for row in pq.read_table(tmp_path / "out.parquet").to_pylist()}
    assert nearest["v03"] == "twin" and nearest["twin"] == "v03"


def test_an_item_without_a_video_is_found_and_marked(tmp_path: Path) -> None:
    promoted = make_promoted(tmp_path)
    text = release_row("text", embedding=promoted.embeddings["v03"]) | {"uri": "", "duration_s": None}
    ReleaseRows(promoted.settings.place, 1).add(release_table(text))
    first, *others = answer(promoted, "similar", "v03")["results"]
    assert (first["video_id"], first["has_video"]) == ("text", False) and all(video["has_video"] for video in others)
    filtered = answer(promoted, "similar", "v03", "--option", "filter={duration_s: {gte: 0}}")["results"]
    assert filtered and "text" not in {video["video_id"] for video in filtered}


def test_a_format_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    words = ["export", "--to", str(tmp_path / "out.xlsx"), "--storage", str(tmp_path)]
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, UnknownFormat) and ".parquet or .csv" in str(error)


def test_without_a_release_the_error_says_so(tmp_path: Path) -> None:
    assert isinstance(CliRunner().invoke(app, ["export", "--storage", str(tmp_path)]).exception, NoRelease)


def test_map_writes_a_page_and_a_picture_for_the_service_and_to_a_file(promoted: Promoted, tmp_path: Path) -> None:
    made = answer(promoted, "map", "--layout", "pca", "--out", str(tmp_path / "all.html"))
    assert (made["release"], made["videos"]) == (1, 40)
    assert "Plotly" in (tmp_path / "all.html").read_text()
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    place = promoted.settings.place
    assert place.read(place.path("maps", "map.html")) == (tmp_path / "all.html").read_bytes()
    artifacts = mlflow.MlflowClient().list_artifacts(registry.resolve("1").run_id, "maps")
    assert {artifact.path for artifact in artifacts} == {"maps/map.html", "maps/map.png"}


def test_an_experiment_is_reported_and_a_scenario_estimated_before_anyone_sees_it(promoted: Promoted) -> None:
    place = promoted.settings.place
    place.write(place.path(SCENARIOS), b"home: {explore: 0.5}\nfirst: {pins: [v00]}")
    place.write(
        place.path(EXPERIMENTS),
        b"x: {scenario: home, arms: {old: {share: 0.5}, new: {share: 0.5, scenario: first, release: 7}}}",
    )
    assert isinstance(invoke(promoted, "experiment", "estimate", "--scenario", "home").exception, NoPropensities)
    assert isinstance(invoke(promoted, "experiment", "report", "y").exception, BadExperiments)
    database, query = Database(EventsConfig(), place), '{"user": {"user_id": "u"}, "top_k": 1, "scenario": "home"}'
    with database.writing() as connection:
        for n in range(400):  # half of the people get v00, which half of them watch, and half another video
            shown = "v00" if n % 2 else "v01"
            row = AnswerRow(f"r{n}", f"u{n}", None, 1e9 + n, 1, query, f'["{shown}"]', 0, "[0.5]", "x", "old")
            add_answers(connection, [row])
            if n % 4 == 1:
                add_events(
                    connection, [event_row(f"e{n}", f"u{n}", "v00", at=1e9 + n)._replace(recommendation_id=f"r{n}")]
                )
    database.close()
    found = answer(promoted, "experiment", "estimate", "--scenario", "first")
    assert found["overlap"] == 1 and found["logged"]["value"] == 0.25 and found["ips"]["value"] == 0.5
    old, new = answer(promoted, "experiment", "report", "x")["arms"]
    assert (old["users"], old["ctr"], old["coverage"], new["users"]) == (400, 0.25, 0.05, 0)
    shown = invoke(promoted, "experiment", "report", "x").output
    assert "Experiment x" in shown and "first" in shown and "0.2500" in shown
    assert "Release 7 of new is not kept: its users get the answers of the control." in " ".join(shown.split())
