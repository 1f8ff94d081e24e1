"""What the agent finds and would do, from reads alone: nothing is set, put on disk, or asked of a grantor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wattlease.agent import assembly
from wattlease.agent.cards import Trouble
from wattlease.agent.enforce import Seat, share_out
from wattlease.agent.node_power import rapl
from wattlease.agent.node_power.redfish import Redfish
from wattlease.agent.originals import Originals
from wattlease.agent.settings import AgentSettings
from wattlease.agent.standing import Standing
from wattlease.agent.state_folder import AgentFolder
from wattlease.agent.tenants import Tenants
from wattlease.runtime.lease.tls import TlsFiles

LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, a line each, and what keeps the agent from its work."""

    lines: tuple[str, ...]
    troubles: tuple[str, ...]


async def check(settings: AgentSettings) -> Found:
    """Look once, at the node's meters and the files for the grantors too."""
    found = await DryRun(settings).look()
    troubles = [*found.troubles, *_trust_troubles(settings)]
    return Found((*found.lines, *await _meters(settings)), tuple(troubles))


async def watch(settings: AgentSettings, say: Callable[[str], None]) -> None:
    """Say what would be done, and again what changes, until cancelled."""
    dry, told = DryRun(settings), frozenset[str]()
    while True:
        found = await dry.look()
        lines = (*found.lines, *found.troubles)
        for line in lines:
            if line not in told:
                say(line)
        told = frozenset(lines)
        await asyncio.sleep(LOOK_S)


class DryRun:
    """The agent's eyes without its hands."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings, self._folder = settings, AgentFolder(settings.state_folder)
        self._hands = assembly.hands(settings, Originals(self._folder.originals), writes=False)
        self._tenants = Tenants(settings.jobs)

    async def look(self) -> Found:
        """Look once at the cards and at who uses them."""
        await asyncio.to_thread(self._hands.look)
        seen = await asyncio.to_thread(self._hands.watch)
        await self._tenants.ask()
        saved = self._folder.fallback_w()
        troubles = [*seen.troubles, *([saved.text] if isinstance(saved, Trouble) else [])]
        if not self._hands.standings:
            return Found((), ("there is no card that can be limited", *troubles))
        return Found(tuple(self._lines()), tuple(troubles))

    def _lines(self) -> Iterator[str]:
        fallback_w, source = self._fallback()
        standings, beside = self._hands.standings, self._settings.beside
        seats = [_seat(standing) for standing in standings]
        shares_w = share_out(seats, beside.cards_w(fallback_w))
        in_use = self._tenants.shares([standing.card for standing in standings])
        yield f"fallback: {fallback_w:.0f} W ({source}); in force now: {self._hands.in_force_w:.0f} W"
        for standing, limit_w in zip(standings, shares_w.limits_w, strict=True):
            jobs = ", ".join(share.job for share in in_use.get(standing.card.uuid, ())) or "not known"
            yield (
                f"card {standing.card.uuid} {standing.card.model}: limit {standing.most_w:.0f} W of "
                f"{standing.card.min_w:.0f} to {standing.card.max_w:.0f} W; "
                f"would be {min(limit_w, standing.most_w):.0f} W without a grant; jobs: {jobs}"
            )
        if shares_w.shortfall_w > 0.0:
            yield f"shortfall: the cards cannot be brought below the fallback by {shares_w.shortfall_w:.0f} W"

    def _fallback(self) -> tuple[float, str]:
        saved, configured_w = self._folder.fallback_w(), self._settings.fallback_watts
        if isinstance(saved, float):
            return saved, "as a grantor last said"
        if saved is None and configured_w is not None:
            return configured_w, "as configured"
        return self._hands.floor_w, "every card at its least limit"


def _seat(standing: Standing) -> Seat:
    return Seat(standing.floor_w, max(standing.card.max_w, standing.floor_w), standing.most_w, standing.answers)


async def _meters(settings: AgentSettings) -> list[str]:
    zones = rapl.zones_of(settings.rapl_folder)
    names = zones.text if isinstance(zones, Trouble) else ", ".join(sorted(zone.name for zone in zones.values()))
    lines = [f"rapl: {names}"]
    if settings.redfish:
        controller = Redfish(settings.redfish)
        power = await controller.poll()
        await controller.close()
        lines.append(f"redfish: {power.text if isinstance(power, Trouble) else f'{power.power_w:.0f} W'}")
    return lines


def _trust_troubles(settings: AgentSettings) -> Iterator[str]:
    """What keeps the grantors from being asked."""
    try:
        assembly.grantors(settings)
        if settings.token_file:
            settings.token_file.read_text(encoding="utf-8")
        if not settings.secret_file:
            TlsFiles(settings.authority, settings.certificate, settings.key).client_context()
    except OSError as error:
        yield f"authority, certificate, key or tokenFile: {error}; write files that the agent may read"
