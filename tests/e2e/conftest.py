"""A real quickstart with its own Ray cluster, storage and port, whose service all tests of this folder share."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chain import CLIPS, ROOT, Chain
from films import write_film
from ports import free_port
from processes import kill_marked
from rayreel.catalog.sample.manifest import write_manifest
from rayreel.media.render.encode import render

SMALL = ("train.epochs=3", "splits.test=0.3", "splits.validation=0.3")
# No access to other machines, and deadlines that a slow machine can meet.
SERVICE = ("limits.allowed_hosts=[]", "serve.timeout_s=60")


def sample_with_trouble(folder: Path) -> Path:
    """A generated catalog with a truncated file, a text file, a video without sound and one with a single frame."""
    for clip in CLIPS:
        render(clip, folder / clip.file)
    manifest = write_manifest(CLIPS, folder)
    whole = (folder / CLIPS[0].file).read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.mp4").write_text("these are notes, not a video\n" * 40)
    write_film(folder / "mute.mp4", tone_hz=None)
    write_film(folder / "still.mp4", frames=1, tone_hz=None)
    with manifest.open("a") as out:
        for name in ("truncated", "notes", "mute", "still"):
            out.write(f"{name},{name}.mp4,A {name} thing,,,,\n")
        out.write("gone,gone.mp4,Not there,,,,\n")
        out.write(f"{CLIPS[1].video_id},notes.mp4,The same id again,,,,\n")
    return manifest


@pytest.fixture(scope="package")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    ray_folder = tempfile.mkdtemp(prefix="rr", dir="/tmp")  # Ray's sockets allow only short paths
    catalog = sample_with_trouble(folder / "videos")
    storage, port = folder / "what? #1 50%", free_port()  # characters that are special in URIs
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_", "MILVUS_"))},
        "RAY_TMPDIR": ray_folder,
        "RAY_AUTH_TOKEN_PATH": str(folder / "ray" / "auth_token"),
        "RAYREEL_STORAGE": str(storage),
        "RAYREEL_ENCODERS__CACHE_DIR": str(ROOT / ".rayreel-test" / "weights"),
        "RAYREEL_LIMITS__ALLOWED_ROOTS": json.dumps([str(catalog.parent)]),
        "COLUMNS": "200",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "tests" / "forked"), os.environ.get("PYTHONPATH")])),
    }
    words = [sys.executable, "jobs/quickstart.py", "--catalog", str(catalog), "--port", str(port)]
    words += [word for setting in SMALL + SERVICE for word in ("--set", setting)]
    try:
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        dashboard = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("Ray "))
        yield Chain(done.stdout, done.stderr, f"http://127.0.0.1:{port}", dashboard, catalog, storage, environment)
    finally:
        kill_marked(ray_folder)  # `ray stop` would stop all clusters of this machine
        shutil.rmtree(ray_folder, ignore_errors=True)
