"""Processes of a distributed training, on this machine."""

from collections.abc import Callable

from torch.multiprocessing.spawn import spawn


def spawn_workers(workers: int, act: Callable[..., None], *words: object) -> None:
    """Run `act(rank, *words)` in `workers` processes and wait for them."""
    spawn(act, words, nprocs=workers)  # type: ignore[no-untyped-call] # torch does not annotate it
