"""Constructor arguments of Ray Data's actors, as they are and as they are patched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("ray_cluster")

PIPELINE = """
import os, signal, sys
import ray, ray.data
from rayreel.compat.ray_data import pass_by_value
from rayreel.ray_access import protect

protect()
ray.init(address="auto", logging_level=40, log_to_driver=False)
if "unpatched" not in sys.argv:
    pass_by_value()


class Mark:
    def __init__(self, word, file):
        self.word, self.file = word, file

    def __call__(self, block):
        if block["id"][0] == 5 and not os.path.exists(self.file):
            open(self.file, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"id": block["id"], "word": [self.word] * len(block["id"])}


arguments = {"word": "kept", "file": sys.argv[1]}
pool = ray.data.ActorPoolStrategy(size=1)
dataset = ray.data.range(8, override_num_blocks=8).map_batches(Mark, fn_constructor_kwargs=arguments, compute=pool)
print(sorted((row["id"], row["word"]) for row in dataset.take_all()))
"""


def run_pipeline(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PIPELINE, *words]
    return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)


def test_upstream_passes_references_and_ray_warns(tmp_path: Path) -> None:
    (tmp_path / "killed").touch()  # no actor needs to restart
    run = run_pipeline(str(tmp_path / "killed"), "unpatched")
    assert "core_worker" in run.stderr and "53727" in run.stderr, (
        f"Ray Data mends this now: remove rayreel/compat/ray_data.py\n{run.stderr}"
    )


@pytest.mark.slow
def test_actors_start_and_restart_with_their_arguments_without_a_ray_warning(tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    run = run_pipeline(str(killed))
    assert run.returncode == 0, run.stderr
    # Other lines report the killed worker, some of them later.
    assert str([(number, "kept") for number in range(8)]) in run.stdout.splitlines(), run.stdout + run.stderr
    assert killed.exists()
    assert "core_worker" not in run.stderr and "53727" not in run.stderr
