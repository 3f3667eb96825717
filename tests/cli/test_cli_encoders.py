"""`rayreel encoders`: the list, a comparison from films to the table, and what `adopt` would train with."""

import json
from pathlib import Path
from typing import Any

import httpx
import mlflow
import pytest
from typer.testing import CliRunner

from films import write_film
from own_encoder import write_untrained
from rayreel.catalog.video import CatalogVideo
from rayreel.catalog.write import write_catalog
from rayreel.cli.main import app
from rayreel.cli.steps.adopt import NotAdopted, chosen_encoders, encoder_sets, settings_with
from rayreel.encoders.trained import UnknownEncoder
from rayreel.settings import Settings, load_settings
from rayreel.storage import Storage

CPU = ("encoders.device=cpu", "encoders.runtime=torch", "sampling.frames=2", "sampling.audio_windows=2")


@pytest.fixture(autouse=True)
def no_outside_services(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> httpx.Response:
        raise httpx.ConnectError("nothing outside")

    monkeypatch.setattr(httpx, "head", refuse)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, "")  # an earlier test may have set it; patching it restores it
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def answer(root: Path, *words: str) -> dict[str, Any]:
    options = [*(word for one in CPU for word in ("--set", one)), "--storage", str(root), "--json"]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["encoders", *words, *options])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def catalog_in(folder: Path) -> Path:
    folder.mkdir()
    videos = []
    for n in range(12):
        film = write_film(folder / f"{n}.mp4", frames=12, size=(64, 48), first=8 * n, tone_hz=300.0 * (1 + n % 2))
        videos.append(CatalogVideo(video_id=f"v{n:02}", uri=str(film), category=f"c{n % 2}"))
    return write_catalog(videos, folder)


def test_the_list_has_every_encoder_with_where_its_weights_are_and_what_is_in_use(tmp_path: Path) -> None:
    write_untrained(Storage(tmp_path), "moves")
    found = {(one["modality"], one["name"]): one for one in answer(tmp_path, "list")["encoders"]}
    moves, log_mel, resnet = found["visual", "moves"], found["audio", "log_mel"], found["visual", "resnet50"]
    assert moves["here"] and moves["dim"] == 16 and not moves["in_use"]
    assert log_mel["here"] and log_mel["in_use"] == ["settings"] and "laptop" in log_mel["presets"]
    assert not resnet["reachable"] and "nothing outside" in resnet["weights"] and resnet["licence"] == "BSD-3-Clause"
    assert {("visual", "clip_vit_b32"), ("text", "clip_vit_b32")} < set(found)


def test_a_comparison_shows_what_was_measured_and_names_what_is_unreachable(tmp_path: Path) -> None:
    root, catalog = tmp_path / "storage", catalog_in(tmp_path / "films")
    write_untrained(Storage(root), "moves")
    words = ("compare", "--catalog", str(catalog), "--encoders", "moves,log_mel,resnet50", "--budget-ms", "1e9")
    found = answer(root, *words)
    names = [one["name"] for one in found["contenders"]]
    assert {"visual:moves", "log_mel"} < set(names) and len(names) == 3
    assert [one["encoder"] for one in found["unreachable"]] == ["resnet50"]
    scores = found["sections"]["category"]["scores"]
    assert set(scores) == set(names) and [choice["budget_ms"] for choice in found["choices"]] == [1e9, None]
    logged = mlflow.get_run(found["run_id"]).data.metrics
    assert logged["test/category/log_mel/ndcg at 10"] == pytest.approx(scores["log_mel"]["ndcg@10"]["mean"])
    assert "Plotly" in Path(found["page"]).read_text()
    again = answer(root, *words)
    assert again["contenders"] == found["contenders"] and again["sections"] == found["sections"]


def settings_in(root: Path, *sets: str) -> Settings:
    return load_settings(sets=sets, storage=str(root))


def test_adopting_keeps_how_the_release_was_trained_and_its_other_encoders(tmp_path: Path) -> None:
    trained = settings_in(
        tmp_path, "encoders.text=bert_base", "encoders.visual=r2plus1d_18", "train.epochs=3", "pairs.label=1"
    )
    now = settings_in(tmp_path, "train.epochs=7", "evaluation.at=5")
    chosen = chosen_encoders(now, ["efficientnet_lite2"])
    new = settings_with(now, trained.model_dump(mode="json"), chosen, [])
    assert encoder_sets(new) == [
        "encoders.visual=efficientnet_lite2",
        "encoders.audio=log_mel",
        "encoders.text=bert_base",
    ]
    assert (new.train.epochs, new.pairs.label, new.evaluation.at) == (3, 1.0, 5)
    assert (trained.sampling.window, new.sampling.window) == (16, 1)
    assert settings_with(now, trained.model_dump(mode="json"), chosen, ["train.epochs=7"]).train.epochs == 7


def test_two_encoders_of_a_modality_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with pytest.raises(NotAdopted, match="resnet50, mobilenet_v2 are of one modality"):
        chosen_encoders(settings, ["resnet50", "mobilenet_v2"])
    with pytest.raises(UnknownEncoder, match=r"No encoder 'resnet51'.*resnet50"):
        chosen_encoders(settings, ["resnet51"])
    both = chosen_encoders(settings, ["visual:clip_vit_b32", "text:hf:org/name"])
    assert [one.setting for one in both] == ["encoders.visual=clip_vit_b32", "encoders.text=hf:org/name"]
