"""Processes of a distributed training, on this machine."""

from collections.abc import Callable

from torch.multiprocessing.spawn import start_processes


def spawn_workers(workers: int, act: Callable[..., None], *words: object) -> None:
    """Run `act(rank, *words)` in `workers` processes and wait for them."""
    start_processes(act, words, nprocs=workers, start_method="forkserver")  # type: ignore[no-untyped-call] # torch does not annotate it
