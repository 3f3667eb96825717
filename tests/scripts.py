"""Scripts run as programs, in processes forked from one that has imported what they need: see conftest.py."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from chain import ROOT


def run_script(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `python SCRIPT ARGUMENTS` in the root of the repository. Not for scripts that start or join a Ray."""
    with TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        process = multiprocessing.get_context("forkserver").Process(
            target=_run, args=(words, dict(os.environ), outputs)
        )
        process.start()
        process.join()
        assert process.exitcode is not None
        return subprocess.CompletedProcess(words, process.exitcode, *(path.read_text() for path in outputs))


def _run(words: tuple[str, ...], environment: Mapping[str, str], outputs: list[Path]) -> None:
    for descriptor, output in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = list(words)
    runpy.run_path(words[0], run_name="__main__")
