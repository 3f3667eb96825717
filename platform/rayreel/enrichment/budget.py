"""A budget in tokens and money that concurrent requests never exceed."""

import asyncio
from dataclasses import dataclass, field

from rayreel.enrichment.config import EnrichConfig


@dataclass(slots=True)
class Budget:
    """Counts what requests used. Before a request, the most that it can use is reserved."""

    config: EnrichConfig
    sent: int = 0
    received: int = 0
    reserved: list[tuple[int, int]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def cost(self) -> float:
        """The price of what was used."""
        return self.config.cost(self.sent, self.received)

    async def reserve(self, most: tuple[int, int]) -> bool:
        """Reserve the most tokens that a request sends and receives; False if the budget does not allow it.

        Waits for running requests, which may use less than was reserved for them.
        """
        async with self.changed:
            await self.changed.wait_for(lambda: self._allows(most) or not self.reserved)
            allowed = self._allows(most)
            if allowed:
                self.reserved.append(most)
            return allowed

    async def settle(self, most: tuple[int, int], used: tuple[int, int]) -> None:
        """Replace a reservation by what was used."""
        async with self.changed:
            self.reserved.remove(most)
            self.sent, self.received = self.sent + used[0], self.received + used[1]
            self.changed.notify_all()

    def _allows(self, most: tuple[int, int]) -> bool:
        sent = self.sent + sum(one[0] for one in self.reserved) + most[0]
        received = self.received + sum(one[1] for one in self.reserved) + most[1]
        tokens, cost = self.config.max_tokens, self.config.max_cost
        within = tokens is None or sent + received <= tokens
        return within and (cost is None or self.config.cost(sent, received) <= cost)
