import pytest

from rayreel.cli.output import console


@pytest.fixture(autouse=True)
def console_on_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what --json of an earlier command did to the console of this process."""
    monkeypatch.setattr(console, "stderr", False)
