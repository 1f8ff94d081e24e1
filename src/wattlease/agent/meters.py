"""The node's own meters, asked beside everything else: RAPL each second, the board controller as often as it bears."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from wattlease.agent.cards import Trouble
from wattlease.agent.node_power import NodePower, rapl
from wattlease.agent.node_power.redfish_settings import RedfishSettings
from wattlease.agent.settings import AgentSettings
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.said import Said

EVERY_S = 1.0
MISSING_S = 30.0
"""So often it is looked whether counters have come to a node that had none."""

FRESH_S = 2.0
"""The guard believes a meter of the whole node that is no older; it cuts by windows of a second and of ten."""

if TYPE_CHECKING:
    from wattlease.agent.node_power.redfish import Redfish

log = logging.getLogger(__name__)


class NodeMeters:
    """The newest readings; `whole` is the node with all that is in it."""

    def __init__(self, settings: AgentSettings) -> None:
        self._folder, self._rapl = settings.rapl_folder, rapl.Rapl(settings.rapl_folder)
        self._redfish = _redfish(settings.redfish) if settings.redfish else None
        self._counted: tuple[NodePower, float] | None = None
        self._said = Said(log)

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._redfish:
                group.create_task(self._redfish.run())
            group.create_task(self._count())

    def latest(self) -> tuple[NodePower, ...]:
        """What each meter told last, ages as of now."""
        told = [self._redfish.latest() if self._redfish else None, self._counted_now()]
        return tuple(power for power in told if isinstance(power, NodePower))

    def whole(self) -> NodePower | None:
        """The whole node's power by the meter that is nearest to the plug."""
        return next((power for power in self.latest() if power.whole), None)

    def fresh_w(self) -> float | None:
        """The whole node's power where it is fresh enough to act on."""
        return next((power.power_w for power in self.latest() if power.whole and power.age_s <= FRESH_S), None)

    async def _count(self) -> None:
        while True:
            power = await asyncio.to_thread(self._rapl.read, steady_s())
            if isinstance(power, Trouble):
                self._said.once(logging.INFO, "no node power", power.text)
            else:
                self._counted = power, steady_s()
            if self._redfish and isinstance(told := self._redfish.latest(), Trouble):
                self._said.once(logging.WARNING, "no node power", told.text)
            await asyncio.sleep(EVERY_S if self._counted or self._begins(power) else MISSING_S)

    def _begins(self, power: NodePower | Trouble) -> bool:
        """Whether there are counters, though they were read only once so far."""
        return isinstance(power, NodePower) or not isinstance(rapl.zones_of(self._folder), Trouble)

    def _counted_now(self) -> NodePower | None:
        if self._counted is None:
            return None
        power, at_s = self._counted
        age_s = steady_s() - at_s
        return NodePower(power.power_w, age_s, power.source, power.whole) if age_s <= 10 * EVERY_S else None


def _redfish(settings: RedfishSettings) -> Redfish:
    from wattlease.agent.node_power.redfish import Redfish  # only where a controller is asked

    return Redfish(settings)
