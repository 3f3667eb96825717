"""A node's cores, shared by what runs on them."""

from heapq import heappop, heappush
from itertools import count

from simpy import Environment, Event


class NodeLost(Exception):
    """The node is gone, and with it what ran there."""


class Station:
    """Cores shared evenly by the running tasks, none of which gets more than one: processor sharing (Kleinrock 1967).

    Every task progresses at the same pace, so one clock serves all: it goes at that pace, and a task ends when the
    clock shows its start plus its work.
    """

    def __init__(self, env: Environment, cores: float) -> None:
        self.env, self.cores, self.alive = env, cores, True
        self.done_s = 0.0
        self._clock = self._at = 0.0
        self._running: list[tuple[float, int, Event, float]] = []
        self._numbers, self._wakes = count(), 0

    def work(self, core_s: float) -> Event:
        """An event that happens when so many core-seconds are done; it fails with NodeLost when the node is lost."""
        event = self.env.event()
        if not self.alive:
            return event.fail(NodeLost())
        self._advance()
        heappush(self._running, (self._clock + core_s, next(self._numbers), event, core_s))
        self._wake()
        return event

    def lose(self) -> None:
        """Everything that runs here fails, and so does what comes."""
        self.alive = False
        for _, _, event, _ in self._running:
            event.fail(NodeLost())
        self._running.clear()

    @property
    def pace(self) -> float:
        """Core-seconds per second that each running task gets."""
        return min(1.0, self.cores / len(self._running))

    def _advance(self) -> None:
        if self._running:
            self._clock += (self.env.now - self._at) * self.pace
        self._at = self.env.now

    def _wake(self) -> None:
        """Come back when the next task ends; what was planned before is void."""
        self._wakes += 1
        wake = self._wakes
        left = max(0.0, self._running[0][0] - self._clock)
        self.env.timeout(left / self.pace).callbacks.append(lambda _: self._end(wake))

    def _end(self, wake: int) -> None:
        if wake != self._wakes or not self._running:
            return
        self._advance()
        # The clock is a sum of many small steps: the task that this was planned for ends whatever they add up to.
        self._clock = max(self._clock, self._running[0][0])
        while self._running and self._running[0][0] <= self._clock:
            _, _, event, core_s = heappop(self._running)
            self.done_s += core_s
            event.succeed()
        if self._running:
            self._wake()
