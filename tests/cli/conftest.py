import sys

import pytest

from rayreel.cli.output import console, json_mode


@pytest.fixture(autouse=True)
def output_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what --json did to the output of this process."""
    monkeypatch.setattr(console, "stderr", False)
    monkeypatch.setattr(json_mode, "stream", None)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
