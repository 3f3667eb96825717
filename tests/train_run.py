"""`jobs/train.py` in a separate process on planted features, or another script, for tests that disturb it."""

import os
import subprocess
import sys
import time
from pathlib import Path

from chain import ROOT
from feature_rows import DIMS, clusters_table
from processes import kill_marked
from rayreel.encoders.load import encoder_identities
from rayreel.features.key import EncoderKey
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.settings import load_settings

CACHE = f"encoders.cache_dir={ROOT / '.rayreel-test' / 'weights'}"
SETTINGS = (
    CACHE,
    "train.epochs=4",
    "train.batch_size=16",
    "train.checkpoint_steps=1",
    "tower.dim=16",
    "splits.validation=0.2",
)


def plant_features(storage: Path, videos: int = 120) -> None:
    """Write a store under the default encoders' key, with videos in four categories."""
    settings = load_settings(sets=[CACHE], storage=str(storage))
    identities = encoder_identities(settings.encoders, settings.weights_cache)
    key = EncoderKey(identities=identities, dims=DIMS, frame_size=32, sampling=settings.sampling)
    store = FeatureStore(settings.place, key)
    store.create()
    table = clusters_table(categories=4, each=videos // 4)
    store.add(table, QUARANTINE.empty_table())
    store.set_catalog(list(zip(table["video_id"].to_pylist(), table["version"].to_pylist(), strict=True)))


class TrainRun:
    """A run with its own Ray. By default it starts a new training; pass `--resume NAME` to continue one."""

    def __init__(
        self, storage: Path, ray_folder: str, *words: str, script: str = "jobs/train.py", **variables: str
    ) -> None:
        self.storage, self.ray_folder = storage, ray_folder
        self.log = storage.parent / f"{storage.name}.log"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "RAYREEL_", "MLFLOW_"))}
        kept |= {"RAY_TMPDIR": ray_folder, "RAY_AUTH_TOKEN_PATH": f"{ray_folder}/auth_token"}
        environment = kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | variables
        options = words or tuple(word for setting in SETTINGS for word in ("--set", setting))
        command = [sys.executable, script, "--storage", str(storage), *options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def wait(self, timeout_s: float = 300) -> int:
        """Wait for the end and return the exit status."""
        return self.process.wait(timeout_s)

    def wait_for_checkpoints(self, count: int, timeout_s: float = 200) -> None:
        """Wait until this many checkpoints exist at the same time; fails if the run ends first."""
        deadline = time.monotonic() + timeout_s
        while len(list(self.storage.glob("checkpoints/*/checkpoint_*/state.pt"))) < count:
            assert self.process.poll() is None, f"ended too early:\n{self.output()}"
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def end(self) -> None:
        """SIGKILL all its processes."""
        self.process.kill()
        self.process.wait()
        kill_marked(self.ray_folder)

    def output(self) -> str:
        """Return its output so far."""
        return self.log.read_text()
