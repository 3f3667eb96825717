"""Choose how many rows a pass on a GPU takes and whether it is a CUDA graph, by a short measurement, once."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

from rayreel.durable import StorageFull, replacing

log = logging.getLogger(__name__)

CANDIDATES = (32, 64, 128, 256)
# More rows or a graph must gain this much: a tie must not be decided by noise.
GAIN = 1.05
BUDGET_S = 4.0  # for one network
FAILURES = (RuntimeError, NotImplementedError)  # of a network that cannot be captured as a graph


class PassChoice(BaseModel):
    """The form of a network's passes. `row_s`: seconds that a row of a bare pass takes."""

    model_config = ConfigDict(frozen=True)

    rows: int
    graph: bool
    row_s: float


class PassMeter:
    """Seconds that bare passes of a GPU need for the rows encoded so far."""

    def __init__(self) -> None:
        self.seconds = 0.0


def candidates(fixed: int, most: int) -> Sequence[int]:
    """Return the rows to try for blocks of at most `most` inputs; 0: only `fixed`."""
    fitting = [rows for rows in CANDIDATES if rows <= most]
    return (fitting or CANDIDATES[:1]) if most else (fixed,)


def choose(
    rows: Iterable[int], time_pass: Callable[[int, bool], float], clock: Callable[[], float] = time.monotonic
) -> PassChoice:
    """Return the fastest form; among equals that with fewer rows, without a graph.

    `time_pass` returns the seconds of a pass with this many rows, as a graph or not. It may raise OutOfMemoryError,
    which ends the search, and one of FAILURES for a graph. The search ends after BUDGET_S. If even the first rows need
    too much memory, half as many are taken, and so on; OutOfMemoryError is raised if one row does.
    """
    best: PassChoice | None = None
    started, rows = clock(), list(rows)
    for count in rows:
        for graph in (False, True):
            if best is not None and clock() - started > BUDGET_S:
                return best
            try:
                row_s = time_pass(count, graph) / count
            except torch.OutOfMemoryError:
                if best is None and count == 1:
                    raise
                break
            except FAILURES as error:
                if not graph:
                    raise
                log.debug("no CUDA graph of %d rows: %s", count, error)
                continue
            if best is None or row_s * GAIN < best.row_s:
                best = PassChoice(rows=count, graph=graph, row_s=row_s)
        else:
            continue
        break
    # Not within the handler, where the error's traceback would still hold the tensors.
    return best or choose([rows[0] // 2], time_pass, clock)


def kept_choice(path: Path | None) -> PassChoice | None:
    """Return the choice of an earlier process, which must hold for the same bits; None if there is none."""
    if path is not None:
        with suppress(OSError, ValidationError):
            return PassChoice.model_validate_json(path.read_bytes())
    return None


def keep_choice(path: Path | None, choice: PassChoice) -> None:
    """Keep a choice for later processes, if the folder can be written."""
    if path is None:
        return
    try:
        with replacing(path) as file:
            file.write(choice.model_dump_json(indent=2).encode())
    except (OSError, StorageFull) as error:
        log.warning("%s: not written (%s); the next process may choose other rows, with other last bits", path, error)


def choice_path(folder: Path | None, network: nn.Module, rows: Sequence[int], *facts: object) -> Path | None:
    """Return where the choice for a network is kept; it depends on its shape, the candidates, device and versions."""
    if folder is None:
        return None
    shapes = [(name, list(tensor.shape), str(tensor.dtype)) for name, tensor in network.state_dict().items()]
    known = [type(network).__name__, shapes, list(rows), *map(str, facts), torch.__version__]
    digest = hashlib.blake2b(json.dumps(known).encode(), digest_size=8).hexdigest()
    return folder / f"{type(network).__name__}-{digest}.json"
