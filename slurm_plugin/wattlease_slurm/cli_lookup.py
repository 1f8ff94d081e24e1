"""Details of jobs that squeue does not print, asked for again only where something may have changed.

One `scontrol show job` of the whole queue costs slurmctld and us more than two squeues, one of a single job little:
so a few jobs are asked for one by one, many at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wattlease_slurm.cli_details import Details, details_of, only_details_of
from wattlease_slurm.cli_queue import Row
from wattlease_slurm.cli_run import Commands, Kind
from wattlease_slurm.words import Trouble

FEW = 6
"""Up to so many are asked for one by one."""

STALE_S = 60.0
"""After this all are asked for again: an admin may have changed what squeue does not show."""

SHOW = ("scontrol", "-a", "-d", "-o", "show", "job")


class Lookup:
    """Remembers the details of the jobs in the queue."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._known: dict[int, tuple[tuple[str, ...], Details]] = {}
        self._numbers: dict[str, int] = {}
        self._all_s = float("-inf")

    async def details(self, rows: Sequence[Row], now_s: float) -> dict[int, Details] | Trouble:
        """By number, for these jobs; one that cannot be told for certain is left out."""
        stale = not 0.0 <= now_s - self._all_s < STALE_S
        by_number = {int(row.number): row for row in rows}
        known = {} if stale else {n: self._known[n] for n, row in by_number.items() if self._still(n, row)}
        wanted = {n: row for n, row in by_number.items() if n not in known}
        if len(wanted) > FEW or stale:
            told = await self._all(wanted)
            if isinstance(told, Trouble):
                return told
            known |= {n: (_shown(by_number[n]), details) for n, details in told.items()}
            self._all_s = now_s
            wanted = {n: row for n, row in wanted.items() if n not in told}
        for n, details in await self._singly(list(wanted.items())[:FEW]):
            known[n] = (_shown(by_number[n]), details)
        self._known = known
        self._numbers = {row.id: n for n, row in by_number.items()}
        return {n: details for n, (_, details) in known.items()}

    def forget(self, job: str) -> None:
        """Ask for this one again: we changed something of it."""
        self._known.pop(self._numbers.get(job, -1), None)

    def _still(self, number: int, row: Row) -> bool:
        return number in self._known and self._known[number][0] == _shown(row)

    async def _all(self, wanted: dict[int, Row]) -> dict[int, Details] | Trouble:
        if not wanted:
            return {}
        text = await self._commands.run(Kind.READ, *SHOW)
        if isinstance(text, Trouble):
            return text
        return await asyncio.to_thread(details_of, text, {n: row.name for n, row in wanted.items()})

    async def _singly(self, wanted: list[tuple[int, Row]]) -> list[tuple[int, Details]]:
        told = await asyncio.gather(*(self._commands.run(Kind.READ, *SHOW, str(n)) for n, _ in wanted))
        found = [
            (n, details_of(text, {n: row.name}).get(n) or only_details_of(text, n, row.name))
            for (n, row), text in zip(wanted, told, strict=True)
            if not isinstance(text, Trouble)
        ]
        return [(n, details) for n, details in found if details is not None]


def _shown(row: Row) -> tuple[str, ...]:
    """What squeue prints of a job that its details hang on; a waiting job's expected start moves all the time."""
    return (row.state, row.nodes, row.name, row.gres, row.start if row.nodes else "")
