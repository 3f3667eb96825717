"""NNCF's reporter, as it is and as it is imported here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPORTER = "from nncf.telemetry.wrapper import telemetry; print(type(telemetry).__name__)"


def reporter(code: str, home: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in {"NNCF_CI", "NNCF_DEV", "CI"}} | {"HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


@pytest.mark.slow
def test_nncf_is_imported_without_its_reporter(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    ours = f"from rayreel.compat.nncf import import_nncf; import_nncf(); {REPORTER}"
    assert reporter(ours, tmp_path) == "MagicMock"
    assert not list(tmp_path.iterdir())
    assert reporter(REPORTER, tmp_path) == "NNCFTelemetry"
