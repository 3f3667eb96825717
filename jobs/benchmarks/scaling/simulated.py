"""What came of a simulated run, and what it waited for."""

from dataclasses import dataclass, field

from benchmarks.scaling.cluster import ClusterConfig
from rayreel.features.report import Throughput


@dataclass(slots=True)
class Driver:
    """Where the time of the driver's loop went until it had started the last block, seconds."""

    over_s: float = 0.0
    busy_s: float = 0.0
    no_room_s: float = 0.0
    no_slot_s: float = 0.0


@dataclass
class Simulated:
    """What came of a run. `ended` counts how often each block was stored; `redone_s` is work that was lost."""

    cluster: ClusterConfig
    videos: int
    ideal_s: float
    ended: list[int]
    throughput: Throughput
    seconds: float = 0.0
    redone_s: float = 0.0
    lost_nodes: int = 0
    encoding_s: float = 0.0
    driver: Driver = field(default_factory=Driver)

    @property
    def efficiency(self) -> float:
        """The time that bare loops on all cores (and GPUs) would need, over the time it took, start and end included.

        As features.ideal.Ideal has it: on CPUs alone decoding and encoding add up, with GPUs the slower one counts.
        """
        return self.ideal_s / self.seconds

    @property
    def limit(self) -> str:
        """What the run waited for most: nodes to start, the last blocks, the driver, room for blocks, a stage."""
        cluster, driver = self.cluster, self.driver
        start_s = cluster.start_s + cluster.autoscale_s * (cluster.nodes > cluster.warm_nodes)
        if start_s > self.seconds / 2:
            return "start-up"
        if driver.over_s < self.seconds / 2:
            return "last blocks"
        if driver.busy_s > driver.over_s / 2:
            return "driver"
        if driver.no_slot_s > driver.no_room_s:
            return "decode"
        encoders = cluster.gpus or cluster.nodes * cluster.encoders
        at_work = self.encoding_s / (encoders * (self.seconds - start_s))
        return "encode" if at_work > 0.8 else "blocks in flight"
