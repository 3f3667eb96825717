"""The service with synthetic videos on its own Ray. Run as a program: start Ray, release and service."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chain import ROOT
from processes import kill_marked

WEIGHTS = ROOT / ".rayreel-test" / "weights"


@dataclass(frozen=True)
class MadeService:
    """A running service: its URL, storage root, and the environment to join its Ray."""

    url: str
    storage: Path
    environment: dict[str, str]


@contextmanager
def made_service(
    folder: Path, port: int, videos: int = 200, sets: Sequence[str] = (), *, haproxy: bool = True
) -> Iterator[MadeService]:
    """Serve `videos` videos (ids from v00000000) from `folder/storage`; kills all its processes at the end.

    Without `haproxy`, requests go through Serve's own proxy.
    """
    ray_folder = tempfile.mkdtemp(prefix="rr", dir="/tmp")  # Ray's sockets allow only short paths
    storage = folder / "storage"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_", "MILVUS_"))},
        "RAY_TMPDIR": ray_folder,
        "RAY_gcs_server_port_wait_time_s": "90",  # as for Ray in tests: conftest.py
        "RAY_SERVE_ENABLE_HA_PROXY": str(int(haproxy)),
        "RAY_AUTH_TOKEN_PATH": str(folder / "ray" / "auth_token"),
        "RAYREEL_STORAGE": str(storage),
        "RAYREEL_ENCODERS__CACHE_DIR": str(WEIGHTS),
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("tests/forked", "tests", "platform", ".")),
    }
    words = [sys.executable, __file__, json.dumps({"port": port, "videos": videos, "sets": list(sets)})]
    try:
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        yield MadeService(f"http://127.0.0.1:{port}", storage, environment)
    finally:
        kill_marked(ray_folder)  # `ray stop` would stop every cluster on the machine
        shutil.rmtree(ray_folder, ignore_errors=True)


def _start(port: int, videos: int, sets: list[str]) -> None:
    from benchmarks.synthetic import make_release
    from rayreel.cli.steps.cluster import start, use_cluster
    from rayreel.cli.steps.serve import serve
    from rayreel.settings import load_settings

    settings = load_settings(None, sets)
    start(settings)  # before joining: otherwise Ray would join any cluster on the machine
    use_cluster(settings)
    make_release(settings, videos)
    serve(settings, None, sets, port)


if __name__ == "__main__":
    _start(**json.loads(sys.argv[1]))
