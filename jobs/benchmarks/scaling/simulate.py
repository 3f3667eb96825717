"""Extraction on a cluster as discrete events: driver → decode slots → blocks in flight → encoder actors → store."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from simpy import Container, Environment, Event, PriorityStore, Store

from benchmarks.scaling.cluster import ClusterConfig
from benchmarks.scaling.costs import Costs
from benchmarks.scaling.simulated import Simulated
from benchmarks.scaling.station import NodeLost, Station
from rayreel.features.report import EXTRACTED, BlockReport, Throughput

Process = Generator[Event, Any, None]


def simulate(cluster: ClusterConfig, costs: Costs, sizes: Sequence[int], seed: int = 0) -> Simulated:
    """Run blocks of these numbers of videos through the cluster. The same seed gives the same run, event by event.

    What is lost with a node is done again, decoding first, until every block is stored: Ray Data retries without end.
    Left out are the network and the storage, which are taken to keep up.
    """
    return _Run(cluster, costs, sizes, seed).result()


def cut(videos: int, per_block: int) -> list[int]:
    """Sizes of blocks as Ray Data cuts them: as even as can be, none above `per_block`."""
    blocks = -(-videos // per_block)
    return [len(part) for part in np.array_split(np.empty(videos, np.bool_), blocks)]


@dataclass(slots=True)
class _Block:
    """One block: its core-seconds (GPU-seconds of encoding on a GPU), and when its decoding ended."""

    number: int
    videos: int
    decode_s: float
    encode_s: float
    store_s: float
    decoded_at: float = 0.0


class _Run:
    """One simulation: the environment, and the queues between the processes."""

    def __init__(self, cluster: ClusterConfig, costs: Costs, sizes: Sequence[int], seed: int) -> None:
        self.cluster, self.overhead = cluster, costs.overhead
        self.env, self.rng = Environment(), np.random.default_rng(seed)
        self.blocks = _blocks(cluster, costs, sizes, self.rng)
        self.todo, self.slots, self.encoders = PriorityStore(self.env), Store(self.env), Store(self.env)
        self.room = Container(self.env, cluster.blocks_in_flight, cluster.blocks_in_flight)
        self.turns, self.left, self.over = count(), len(self.blocks), self.env.event()
        clock = Throughput(clock=lambda: float(self.env.now))
        self.found = Simulated(cluster, sum(sizes), _ideal_s(cluster, self.blocks), [0] * len(sizes), clock)
        _slow_down(self.blocks, cluster, self.rng)

    def result(self) -> Simulated:
        for block in self.blocks:
            self.todo.put((1, next(self.turns), block))
        for number in range(self.cluster.nodes):
            self.env.process(self._life(number, self.cluster.cores, self.cluster.decode_slots, self.cluster.encoders))
        for number in range(self.cluster.gpus):
            self.env.process(self._life(number, 1, 0, 1))
        self.env.process(self._drive())
        self.env.run(until=self.over)
        self.found.seconds = float(self.env.now)
        return self.found

    def _life(self, number: int, cores: float, slots: int, encoders: int) -> Process:
        """A node comes, is lost after a while, and another one comes in its place."""
        if number >= self.cluster.warm_nodes and self.cluster.autoscale_s:
            yield self.env.timeout(self.cluster.autoscale_s)
        while True:
            node = Station(self.env, cores)
            for _ in range(slots):
                self.slots.put(node)
            self.env.process(self._start(node, encoders))
            if np.isinf(self.cluster.mtbf_h):
                return
            yield self.env.timeout(self.rng.exponential(3600 * self.cluster.mtbf_h))
            node.lose()
            self.found.lost_nodes += 1
            yield self.env.timeout(self.cluster.replace_s)

    def _start(self, node: Station, encoders: int) -> Process:
        yield self.env.timeout(self.cluster.start_s)
        for _ in range(encoders):
            self.encoders.put(node)

    def _drive(self) -> Process:
        """The driver: one block after the other, as there is room for it and a slot to decode it in."""
        driver = self.found.driver
        while True:
            _, _, block = yield self.todo.get()
            asked = self.env.now
            yield self.room.get(1)
            driver.no_room_s += self.env.now - asked
            asked = self.env.now
            node = yield from self._next(self.slots)
            driver.no_slot_s += self.env.now - asked
            if self.overhead.driver_s:
                asked = self.env.now
                if self.cluster.shared_driver:
                    yield from self._shared(node)
                else:
                    yield self.env.timeout(self.overhead.driver_s)
                driver.busy_s += self.env.now - asked
            driver.over_s = float(self.env.now)
            self.env.process(self._extract(block, node))

    def _shared(self, node: Station) -> Process:
        try:
            yield node.work(self.overhead.driver_s)
        except NodeLost:
            return

    def _next(self, free: Store) -> Generator[Event, Station, Station]:
        """The next free slot or actor of a living node."""
        while True:
            node = yield free.get()
            if node.alive:
                return node

    def _extract(self, block: _Block, node: Station) -> Process:
        """Decode, wait for an encoder, encode, store; what a lost node takes along is done again."""
        try:
            yield node.work(block.decode_s + self.overhead.node_s)
            self.slots.put(node)
            block.decoded_at = float(self.env.now)
            waited_s = yield from self._encode(block, node)
        except NodeLost:
            self._redo(block, block.decode_s)
            return
        finally:
            self.room.put(1)
        try:
            yield node.work(block.store_s)
        except NodeLost:
            self._redo(block, block.decode_s + block.encode_s)
            return
        self._finish(block, waited_s)

    def _encode(self, block: _Block, node: Station) -> Generator[Event, Station, float]:
        """Encode on the next free actor, or another if it is lost; a block lost with its node is decoded again."""
        while True:
            actor = yield from self._next(self.encoders)
            if not node.alive:
                self.encoders.put(actor)
                raise NodeLost
            waited_s = float(self.env.now) - block.decoded_at
            try:
                yield actor.work(block.encode_s)
            except NodeLost:
                self.found.redone_s += block.encode_s
                continue
            self.encoders.put(actor)
            self.found.encoding_s += float(self.env.now) - block.decoded_at - waited_s
            return waited_s

    def _redo(self, block: _Block, lost_s: float) -> None:
        self.found.redone_s += lost_s
        self.todo.put((0, next(self.turns), block))

    def _finish(self, block: _Block, waited_s: float) -> None:
        self.found.ended[block.number] += 1
        self.found.throughput.add(
            BlockReport(
                outcomes={EXTRACTED: block.videos},
                frames=0,
                decode_s=block.decode_s,
                decoded_at=block.decoded_at,
                waited_s=waited_s,
                encode_s=block.encode_s,
            )
        )
        self.left -= 1
        if not self.left:
            self.over.succeed()


def _blocks(cluster: ClusterConfig, costs: Costs, sizes: Sequence[int], rng: np.random.Generator) -> list[_Block]:
    """The blocks in their order, each with costs of its size."""
    counts = np.asarray(sizes)
    drawn = np.empty((3, len(counts)))
    for size in np.unique(counts):
        drawn[:, counts == size] = costs.draw(int((counts == size).sum()), int(size), rng)
    drawn[1] /= cluster.gpu_speed if cluster.gpus else 1
    return [
        _Block(number, size, *cost) for number, (size, cost) in enumerate(zip(sizes, drawn.T.tolist(), strict=True))
    ]


def _ideal_s(cluster: ClusterConfig, blocks: list[_Block]) -> float:
    """What bare loops on all cores and GPUs would take."""
    decode_s, encode_s = (sum(block.decode_s for block in blocks), sum(block.encode_s for block in blocks))
    if cluster.gpus:
        return max(decode_s / cluster.all_cores, encode_s / cluster.gpus)
    return (decode_s + encode_s) / cluster.all_cores


def _slow_down(blocks: list[_Block], cluster: ClusterConfig, rng: np.random.Generator) -> None:
    for number in np.flatnonzero(rng.random(len(blocks)) < cluster.straggling):
        blocks[number].decode_s *= cluster.slower
