"""Passes on a GPU that copy, compute and read back at the same time."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.halved import halve
from rayreel.encoders.passes import PassChoice, choice_path, choose, keep_choice, kept_choice
from rayreel.encoders.runtime import Inputs, channels_last

log = logging.getLogger(__name__)

TIMED_S, FEWEST_TIMED, WARM_UPS = 0.15, 3, 2
# Cosine of a graph's vectors with those of the same pass without a graph, below which the graph is not used.
SAME = 0.9999


class StagedRuntime:
    """A network on a GPU. All passes of a network have the same number of rows; the last one of a call is padded.

    Inputs are copied to pinned memory and from there to the GPU, uint8 frames as they are, while the GPU computes the
    pass before. Rows and graph are chosen with the first inputs, and kept for later processes: other rows may give
    other last bits. Where the GPU's memory does not suffice for later inputs, passes take half as many rows from then
    on: vectors then differ from earlier ones by rounding, to a cosine of 0.9999. Thread-safe. On a CPU, for tests, it
    does the same without overlap.
    """

    rows = 1 << 20  # that a caller may pass at once

    def __init__(self, network: nn.Module, compute: Compute) -> None:
        self._compute, self._dtype = compute, compute.dtype
        self._on_gpu = compute.device.type == "cuda"
        name = torch.cuda.get_device_name(compute.device) if self._on_gpu else "cpu"
        facts = (compute.dtype, name, compute.compile)
        self._path = choice_path(compute.choices, network, compute.candidates, *facts)
        network = channels_last(network.eval(), compute.device)
        network = halve(network, compute.dtype) if compute.dtype != torch.float32 else network
        self._network = torch.compile(network) if compute.compile else network
        self._choice: PassChoice | None = None
        self._lanes: dict[object, Lane] = {}
        self._turn = threading.Lock()

    def run(self, batches: Iterable[Inputs]) -> Iterable[Vectors]:
        """Map each batch, of any number of rows, to [rows, dim] float32."""
        batches = list(batches)
        with self._turn, torch.inference_mode():
            while True:
                try:
                    return self._run(batches)
                except torch.OutOfMemoryError as error:
                    trouble = error.with_traceback(None)  # whose frames hold the tensors
                self._lower(trouble)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run one pass on inputs that are on the device: [rows, ...] -> [rows, dim] float32."""
        reduced, kind = self._dtype != torch.float32, self._compute.device.type
        # Parameters are in half precision already, and graphs must not use autocast's cache.
        with torch.inference_mode(), torch.autocast(kind, self._dtype, enabled=reduced, cache_enabled=False):
            output: Tensor = self._network(*inputs)
            return output.float()

    def _run(self, batches: list[Inputs]) -> list[Vectors]:
        queued = []
        for inputs in batches:
            choice = self._fit(inputs)
            queued.append([self._lane(part, choice).queue(part) for part in _parts(inputs, choice.rows)])
            self._compute.meter.seconds += len(inputs[0]) * choice.row_s
        if self._on_gpu:
            torch.cuda.synchronize(self._compute.device)
        return [np.concatenate([part.numpy() for part in parts]) for parts in queued]

    def _fit(self, inputs: Inputs) -> PassChoice:
        """Return the choice; the first time, measure it with these inputs."""
        if self._choice is None:
            self._choice = kept_choice(self._path)
        if self._choice is None:
            self._choice = choose(self._compute.candidates, lambda rows, graph: self._time(inputs, rows, graph=graph))
            keep_choice(self._path, self._choice)
            self._lanes.clear()
        return self._choice

    def _time(self, inputs: Inputs, rows: int, *, graph: bool) -> float:
        """Return the seconds of a pass with this many rows, on inputs that are on the device."""
        if graph and (not self._on_gpu or self._compute.compile):
            raise NotImplementedError("graphs need CUDA, and a network that torch.compile leaves alone")
        part = tuple(np.resize(array, (rows, *array.shape[1:])) for array in inputs)
        lane = Lane(self, part, rows, graph=graph)
        for _ in range(WARM_UPS):
            lane.queue(part)
        started, passes = lane.settled(), 0
        while passes < FEWEST_TIMED or lane.settled() - started < TIMED_S:
            lane.compute()
            passes += 1
        return (lane.settled() - started) / passes

    def _lane(self, part: Inputs, choice: PassChoice) -> "Lane":
        key = tuple((array.shape[1:], array.dtype) for array in part)
        if key not in self._lanes:
            self._lanes[key] = Lane(self, part, choice.rows, graph=choice.graph)
        return self._lanes[key]

    def _lower(self, error: torch.OutOfMemoryError) -> None:
        """Halve the rows. Raises the error if a pass has only one row."""
        if self._choice is None or self._choice.rows == 1:
            raise error
        self._lanes.clear()
        torch.cuda.empty_cache()
        rows = self._choice.rows // 2
        log.warning("the GPU has no memory for passes of %d rows; from now on they have %d", 2 * rows, rows)
        self._choice = self._choice.model_copy(update={"rows": rows})
        keep_choice(self._path, self._choice)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._compute.device


class Lane:
    """The buffers, streams and graph for passes with inputs of one shape."""

    def __init__(self, runtime: StagedRuntime, part: Inputs, rows: int, *, graph: bool) -> None:
        self._runtime, self._rows = runtime, rows
        self._on_gpu = runtime.device.type == "cuda"
        self._slots = [Slot(part, rows, runtime.device) for _ in range(2)]
        self._turn = 0
        self._computing = torch.cuda.Stream(runtime.device) if self._on_gpu else None  # type: ignore[no-untyped-call]
        self._copying = torch.cuda.Stream(runtime.device) if self._on_gpu else None  # type: ignore[no-untyped-call]
        self._graph: CapturedPass | None = (
            CapturedPass(runtime, self._slots[0].there, self._computing) if graph else None
        )

    def queue(self, part: Inputs) -> Tensor:
        """Queue a pass for up to `rows` rows; return the vectors in host memory, which are ready after a wait."""
        slot, self._turn = self._slots[self._turn], 1 - self._turn
        slot.load(part, self._copying)
        return slot.unload(lambda: self.compute(slot), len(part[0]), self._computing)

    def compute(self, slot: "Slot | None" = None) -> Tensor:
        """Queue a pass on what a slot has on the device."""
        there = (slot or self._slots[0]).there
        with _stream(self._computing):
            return self._graph.replay(there) if self._graph else self._runtime.forward(*there)

    def settled(self) -> float:
        """Return the time when all that is queued has ended."""
        if self._on_gpu:
            torch.cuda.synchronize(self._runtime.device)
        return time.perf_counter()


class Slot:
    """Pinned host memory for the inputs of one pass, and their copies on the device."""

    def __init__(self, like: Inputs, rows: int, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        shapes = [((rows, *array.shape[1:]), torch.from_numpy(np.empty(0, array.dtype)).dtype) for array in like]
        self.here = [torch.empty(shape, dtype=dtype, pin_memory=on_gpu) for shape, dtype in shapes]
        self.there = [torch.empty_like(x, device=device) for x in self.here] if on_gpu else self.here
        self._copied = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]
        self._used = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]
        if on_gpu:
            torch.cuda.synchronize(device)  # other streams must not write to what this one still fills

    def load(self, part: Inputs, stream: "torch.cuda.Stream | None") -> None:
        """Copy inputs to the host buffer, with the last row repeated up to a whole pass, and queue the copy on."""
        if self._copied is not None:
            self._copied.synchronize()  # the copy before has left the host buffer
        for x, array in zip(self.here, part, strict=True):
            # Repeated rather than zeros: a text without tokens has no mean.
            x[: len(array)].numpy()[...] = array
            x[len(array) :] = x[len(array) - 1].clone()
        if stream is None or self._copied is None or self._used is None:
            return
        with torch.cuda.stream(stream):
            stream.wait_event(self._used)  # the pass before has read the device buffer
            for there, here in zip(self.there, self.here, strict=True):
                there.copy_(here, non_blocking=True)
            self._copied.record(stream)

    def unload(self, compute: Any, count: int, stream: "torch.cuda.Stream | None") -> Tensor:  # noqa: ANN401
        """Queue the pass and the copy of its first `count` vectors to the host."""
        if stream is None or self._copied is None or self._used is None:
            return compute()[:count]  # type: ignore[no-any-return]
        stream.wait_event(self._copied)
        out: Tensor = compute()
        with torch.cuda.stream(stream):
            self._used.record(stream)
            vectors = torch.empty(out.shape, dtype=out.dtype, pin_memory=True)
            vectors.copy_(out, non_blocking=True)
        return vectors[:count]


class CapturedPass:
    """A pass as a CUDA graph: one launch instead of one for each kernel."""

    def __init__(self, runtime: StagedRuntime, example: Iterable[Tensor], stream: "torch.cuda.Stream | None") -> None:
        self._inputs = [x.clone() for x in example]
        torch.cuda.synchronize(runtime.device)
        with _stream(stream):
            for _ in range(WARM_UPS):  # libraries allocate their workspaces
                plain = runtime.forward(*self._inputs)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads, such as those that serving has, may use CUDA meanwhile.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._output = runtime.forward(*self._inputs)
        self._graph.replay()
        torch.cuda.synchronize(runtime.device)
        cosine = F.cosine_similarity(plain, self._output, dim=1).min()
        if not cosine > SAME:
            raise RuntimeError(f"as a graph, its vectors have a cosine of {cosine:.4f} with those without")

    def replay(self, inputs: Iterable[Tensor]) -> Tensor:
        """Queue the pass on copies of the inputs. The next replay overwrites the returned vectors."""
        for own, x in zip(self._inputs, inputs, strict=True):
            own.copy_(x, non_blocking=True)
        self._graph.replay()
        return self._output


def _stream(stream: "torch.cuda.Stream | None") -> AbstractContextManager[Any]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)


def _parts(inputs: Inputs, rows: int) -> Iterator[Inputs]:
    for start in range(0, len(inputs[0]), rows):
        yield tuple(array[start : start + rows] for array in inputs)
