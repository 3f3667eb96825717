"""A folder of videos without labels, titles and interactions, from files to a promoted release and its neighbours."""

import json
from fractions import Fraction
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

import rayreel
from chain import ROOT
from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.plan import plan_sample
from rayreel.cli.main import app
from rayreel.evaluation.evaluate import Evaluation
from rayreel.media.render.encode import render
from rayreel.release import registry
from rayreel.release.promote import Promotion
from rayreel.settings import Settings, load_settings
from rayreel.tower.frozen import FrozenFeatures
from rayreel.training.smoothing import UNMEASURED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FILMS = 16
# Weights are shared between runs of the tests; the shares are large enough for every part of a small folder.
SETTINGS = (
    f"encoders.cache_dir={ROOT / '.rayreel-test' / 'weights'}",
    "train.epochs=5",
    "train.workers=1",
    "splits.validation=0.2",
    "splits.test=0.25",
    "evaluation.bootstrap=200",
)


def later_of(number: int) -> str:
    """Return the id of a film's later part; its file's name, which is its title, says nothing of the film's."""
    return f"{FILMS + 7 * number % FILMS}"


def copy_later_part(source: Path, target: Path) -> None:
    """Encode a film again from half a second on, with another codec, quality and size, and without sound."""
    with av.open(source) as film, av.open(target, "w") as out:
        stream = out.add_stream("mpeg4", rate=25, options={"qmin": "6", "qmax": "6"})
        assert isinstance(stream, av.VideoStream)
        first = film.streams.video[0]
        stream.width, stream.height, stream.pix_fmt = first.width // 4 * 2, first.height // 4 * 2, "yuv420p"
        shown = [frame for frame in film.decode(video=0) if frame.time is not None and frame.time >= 0.5]
        for number, frame in enumerate(shown):
            smaller = frame.reformat(stream.width, stream.height)
            smaller.pts, smaller.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(smaller))
        out.mux(stream.encode(None))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(sets=SETTINGS, storage=str(tmp_path_factory.mktemp("unlabelled") / "storage"))


@pytest.fixture(scope="module")
def folder(settings: Settings) -> Path:
    """A flat folder with films and, of each, a later part encoded again."""
    folder = Path(settings.storage).parent / "films"
    for number, clip in enumerate(plan_sample(SampleConfig(clips=FILMS, categories=4, seed=3))):
        render(clip, folder / f"{number:02}.mp4")
        copy_later_part(folder / f"{number:02}.mp4", folder / f"{later_of(number)}.mkv")
    return folder


@pytest.fixture(scope="module")
def report(settings: Settings, folder: Path, ray_cluster: None) -> Evaluation:
    assert rayreel.extract(folder, settings=settings).extracted == 2 * FILMS
    tower = rayreel.train(settings=load_settings(sets=(*SETTINGS, "train.recipe=tower"), storage=settings.storage))
    assert 0 <= tower.metrics["validation/views/mrr@10"] <= 1
    return rayreel.evaluate(tower, settings=settings)


@pytest.fixture(scope="module")
def promotion(settings: Settings, report: Evaluation) -> Promotion:
    """Promote what the default recipe makes of films without labels."""
    rayreel.train(settings=settings)
    return rayreel.promote(settings=settings)


def test_the_report_measures_view_retrieval_against_the_baselines(report: Evaluation) -> None:
    scores = {method: row["ndcg@10"].mean for method, row in report.sections["views"].scores.items()}
    assert list(report.sections) == ["views"] and {"untrained tower", "mean-pooled .7 vis .3 txt"} <= set(scores)
    assert scores["tower"] > scores["random"]


def test_frozen_features_are_promoted_without_force(promotion: Promotion) -> None:
    assert promotion.previous is None and all(gate.passed for gate in promotion.gates)
    served = registry.load(promotion.version)
    assert isinstance(served, FrozenFeatures) and served.smoothing == UNMEASURED
    assert {"views/ndcg@10, not worse: visual alone"} <= {gate.name for gate in promotion.gates}


def test_the_later_part_of_a_film_is_among_its_nearest_more_often_than_by_chance(
    settings: Settings, folder: Path, promotion: Promotion, tmp_path: Path
) -> None:
    options = ["--storage", settings.storage, *(word for line in SETTINGS for word in ("--set", line))]
    done = CliRunner().invoke(app, ["export", "--top", "3", "--to", str(tmp_path / "near.csv"), *options])
    assert done.exit_code == 0, done.output
    pairs = {tuple(line.replace('"', "").split(",")[:3:2]) for line in (tmp_path / "near.csv").read_text().splitlines()}
    found = sum((f"{n:02}", later_of(n)) in pairs for n in range(FILMS))
    found += sum((later_of(n), f"{n:02}") in pairs for n in range(FILMS))
    assert found > 8  # by chance 3 of 32, and more than 8 in fewer than 1 of 100 cases


def test_similar_answers_for_a_video_and_for_its_file(settings: Settings, folder: Path, promotion: Promotion) -> None:
    options = ["--json", "--k", "3", "--storage", settings.storage]
    options += [word for line in SETTINGS for word in ("--set", line)]
    by_id, by_file = (CliRunner().invoke(app, ["similar", query, *options]) for query in ("00", str(folder / "00.mp4")))
    assert by_id.exit_code == by_file.exit_code == 0, by_file.output
    assert len(json.loads(by_id.stdout)["results"]) == 3
    nearest = json.loads(by_file.stdout)["results"][0]
    assert nearest["video_id"] == "00" and nearest["score"] > 0.9  # the vector in the index is averaged
