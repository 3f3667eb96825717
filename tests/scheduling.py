"""Which process of pytest-xdist runs which module, and in which order."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Modules with a Ray cluster of their own or a running service, which they share: two at once need too much memory.
LARGE = (
    "tests/docs/test_docs_notebook.py",
    *(f"tests/e2e/test_e2e_{name}.py" for name in ("chain", "client", "fuzz", "nearby", "uploads")),
    "tests/faults/test_faults_extract.py",
)
# What takes longest, which starts first, so that all processes end at about the same time.
LONGEST = (
    *LARGE,
    "tests/release/test_release_switch.py",
    "tests/release/test_release_follow.py",
    "tests/cli/test_cli_sweep.py",
    "tests/training/test_training_train.py",
)


class ModuleScheduling(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Sends each module to one process, and all modules of `LARGE` to the same one.

    Not with `--dist loadgroup`: pytest-xdist 3.8 appends the group to a node id that pytest 9 no longer reads.
    """

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # which would start with the modules of most tests

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return "large" if module in LARGE else module


def longest_first(items: list[pytest.Item]) -> None:
    """Sort the tests by the place of their module in `LONGEST`."""
    place = {module: number for number, module in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(LONGEST)))
