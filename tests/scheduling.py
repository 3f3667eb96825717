"""Which process of pytest-xdist runs which module, and in which order."""

import re
from functools import cache

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from chain import ROOT

# Modules with a Ray cluster of their own or a running service, which they share: two at once need too much memory.
LARGE = (
    "tests/docs/test_docs_notebook.py",
    *(f"tests/e2e/test_e2e_{name}.py" for name in ("chain", "client", "fuzz", "nearby", "page", "uploads")),
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

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give the last process modules that need Ray and the others the rest, while there are any of them."""
        wanted = node is self.nodes[-1]
        scope = next((scope for scope in self.workqueue if needs_ray(scope) is wanted), next(iter(self.workqueue)))
        self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return "large" if module in LARGE else module


@cache
def needs_ray(module: str) -> bool:
    """Whether the module or its folder has tests on the Ray of their process, which takes half a minute to start."""
    files = (ROOT / module, (ROOT / module).with_name("conftest.py"))
    return any(re.search(r'ray_cluster(: None|")', file.read_text()) for file in files if file.is_file())


def longest_first(items: list[pytest.Item]) -> None:
    """Sort the tests by the place of their module in `LONGEST`."""
    place = {module: number for number, module in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(LONGEST)))
