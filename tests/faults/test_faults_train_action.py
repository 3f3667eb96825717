"""Training of an encoder whose driver and cluster are killed and which --resume continues."""

import json
from pathlib import Path

import pytest

from moving import write_moving_films
from ray_here import short_folder
from train_run import TrainRun

pytestmark = [pytest.mark.timeout(900), pytest.mark.faults]

SCRIPT = "jobs/train_action.py"
SETTINGS = (
    "action.network={frames: 4, stride: 2, size: 16, channels: [8, 16]}",
    "action.windows=2",
    "action.epochs=8",
    "action.batch_size=8",
    "action.workers=1",
    "splits.validation=0.2",
    "splits.test=0.3",
)


def encoder_of(storage: Path) -> tuple[bytes, object]:
    folder = storage / "encoders" / "moves"
    return (folder / "model.safetensors").read_bytes(), json.loads((folder / "report.json").read_text())


def test_a_killed_run_continues_and_gives_the_same_encoder_and_report(tmp_path: Path, ray_folder: str) -> None:
    films = write_moving_films(tmp_path / "films", groups=6, each=2)
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    words += ["--catalog", str(films), "--name", "moves"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    with short_folder() as folder:
        whole = TrainRun(undisturbed, folder, *words, script=SCRIPT)
        assert whole.wait() == 0, whole.output()
        whole.end()
    first = TrainRun(killed, ray_folder, *words, script=SCRIPT)
    try:
        first.wait_for_checkpoints(1)
    finally:
        first.end()
    resumed = TrainRun(killed, ray_folder, "--resume", "last", script=SCRIPT)
    assert resumed.wait() == 0, resumed.output()
    resumed.end()
    assert "Continuing train-action-" in resumed.output()
    assert encoder_of(killed) == encoder_of(undisturbed)
