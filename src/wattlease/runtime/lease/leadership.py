"""Which of several grantors of one limit may answer: a lease too, under an epoch that only rises."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from wattlease.core.lease import Refused
from wattlease.runtime.lease.clock import Now
from wattlease.runtime.lease.said import Said

LEADERSHIP_TTL_S = 5.0
"""Half a grant's, so that a successor has heard every holder before the first grant of its predecessor runs out."""

RENEW_S = 1.0
LOOK_S = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Term:
    """The right to answer under this epoch until then, on this process's own clock."""

    epoch: int
    until_s: float


class Leadership(Protocol):
    """A place where one of many leads. Every call may block for a second or so; trouble is a value."""

    def stand(self) -> Term | Refused:
        """Lead under a new epoch, if nobody leads any more."""

    def renew(self, term: Term) -> Term | Refused:
        """Lead on, counted from before the renewal was written."""

    def resign(self, term: Term) -> None:
        """Let another lead at once; this process has answered its last request."""


class Grants(Protocol):
    """What leads: the grantor, as leadership sees it."""

    async def begin(self, term: Term) -> Refused | None:
        """Answer under this term from now on."""

    def lead_until(self, until_s: float) -> None:
        """The term was renewed."""

    def step_down(self) -> None:
        """Answer nobody any more."""


async def lead(grants: Grants, leadership: Leadership, now: Now, renew_s: float = RENEW_S) -> None:
    """Lead whenever nobody else does, until cancelled; then resign, so that another need not wait."""
    said = Said(log)
    while True:
        term = await asyncio.to_thread(leadership.stand)
        if isinstance(term, Refused):
            said.once(logging.INFO, "waits", term.reason)
        else:
            said.forget("waits")
            await _serve(grants, leadership, term, now, renew_s, said)
        await asyncio.sleep(LOOK_S)


async def _serve(grants: Grants, leadership: Leadership, term: Term, now: Now, renew_s: float, said: Said) -> None:
    try:
        if refused := await grants.begin(term):
            said.once(logging.ERROR, "leads not", refused.reason)
            return
        said.forget("leads not")
        log.info("leads: epoch=%d", term.epoch)
        await _renewed(grants, leadership, term, now, renew_s)
    finally:
        # Not beside the loop: a cancelled task would not wait for it, and nobody may be answered after.
        grants.step_down()
        leadership.resign(term)


async def _renewed(grants: Grants, leadership: Leadership, term: Term, now: Now, renew_s: float) -> None:
    while now() < term.until_s:
        await asyncio.sleep(renew_s)
        renewed = await asyncio.to_thread(leadership.renew, term)
        if isinstance(renewed, Refused):
            log.warning("leadership not renewed: epoch=%d reason=%s", term.epoch, renewed.reason)
        else:
            term = renewed
            grants.lead_until(term.until_s)
    log.warning("leads no more: epoch=%d", term.epoch)
