"""Code that runs in a Python of its own, in which no library is patched."""

import os
import subprocess
import sys
from pathlib import Path


def printed(code: str, home: Path, **variables: str) -> str:
    """Return what the code prints, with `home` for Ray's files and without variables of a Ray of this process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = kept | {"HOME": str(home), "RAY_TMPDIR": str(home)} | variables
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()
