"""The shell around the ledger: a clock, a disk, and requests that wait until their answer is news.

Whoever leads calls `begin`, `lead_until` and `step_down` (`leadership.lead` does); whoever decides calls `plan` each
tick. A plan that is not renewed ends what it granted: a process that was paused and wakes answers, but grants nothing
until it has planned with the limit as it is now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from wattlease.core.lease import Answer, Ledger, Refused, Request, Target
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.leadership import Term
from wattlease.runtime.lease.members import Membership
from wattlease.runtime.lease.polls import Polls
from wattlease.runtime.lease.report import Hint, NodeReport, Renewal, Reply, ShareReport
from wattlease.runtime.lease.saving import Saver
from wattlease.runtime.lease.store import RosterStore
from wattlease.runtime.lease.terms import GrantTerms

GATHER_S = 0.05
"""Watts that holders return are offered to the others this often: together, not once for each."""

NO_LEADER = Refused("this grantor does not lead; ask the other one")
SUPERSEDED = Refused("the holder has asked anew since")


@dataclass(frozen=True, slots=True)
class Heard:
    """A member's newest report and when it was heard, on the grantor's clock."""

    report: NodeReport
    heard_s: float


@dataclass(frozen=True, slots=True)
class HeardShare:
    """A member cluster's newest report and when it was heard, on the grantor's clock."""

    report: ShareReport
    heard_s: float


class Grantor:
    """Grants parts of one limit to its members. All of it runs on one event loop; only the disk is elsewhere."""

    def __init__(self, terms: GrantTerms, membership: Membership, store: RosterStore, now: Now = steady_s) -> None:
        self.terms, self.now = terms, now
        self.ledger: Ledger | None = None
        self.reports: dict[str, Heard] = {}
        self.shares: dict[str, HeardShare] = {}
        self.renewals = 0
        self.planned_s = float("-inf")
        self.saver = Saver(store)
        self._targets: Mapping[str, Target] = {}
        self.polls = Polls()
        self._membership, self._store = membership, store
        self._hints: dict[str, tuple[Hint, ...]] = {}
        self._told: dict[str, tuple[Hint, ...]] = {}
        self._gathering: asyncio.TimerHandle | None = None

    # Leading

    async def begin(self, term: Term) -> Refused | None:
        """Answer under this term, with the members that the disk remembers and those that are configured."""
        roster = await asyncio.to_thread(self._store.load, self.terms.ttl_s)
        if isinstance(roster, Refused):
            return roster
        now_s = self.now()
        ledger = Ledger.begin(
            term.epoch,
            roster,
            now_s,
            guaranteed_w=self.terms.guaranteed_w,
            leads_until_s=term.until_s,
            ttl_s=self.terms.ttl_s,
            drift_frac=self.terms.drift_frac,
        )
        self._membership.apply(ledger, now_s)
        self.planned_s = float("-inf")
        self.ledger = ledger
        self._save()
        return None

    def lead_until(self, until_s: float) -> None:
        """The term was renewed."""
        if self.ledger:
            self.ledger.lead_until(until_s)

    def step_down(self) -> None:
        """Answer nobody any more; whoever waits is told so."""
        self.saver.stop()
        self.ledger = None
        self.polls.wake(lambda _request: True)

    def leads(self) -> bool:
        """Whether it may answer now."""
        return self.ledger is not None and self.ledger.leads_from_s <= self.now() < self.ledger.leads_until_s

    # Members

    def may_ask(self, name: str) -> bool:
        """Whether it is a member or may become one."""
        account = self.ledger.accounts.get(name) if self.ledger else None
        return (account is not None and not account.leaving) or self._membership.admit(name) is not None

    def change(self, membership: Membership) -> None:
        """Hold to this membership from now on; who is no longer in it counts until its last grant is over."""
        self._membership = membership
        for known in (self.reports, self.shares, self._hints, self._told):
            for name in [name for name in known if membership.admit(name) is None]:
                del known[name]
        if self.ledger:
            membership.apply(self.ledger, self.now())
            self._save()

    def assure(self, guaranteed_w: float) -> None:
        """The site has another worst day from now on: fallbacks should fit in this."""
        self.terms = self.terms.model_copy(update={"guaranteed_w": guaranteed_w})
        if self.ledger:
            self.ledger.guaranteed_w = guaranteed_w

    def set_hints(self, name: str, hints: tuple[Hint, ...]) -> None:
        """Tell this node's jobs, at once if it waits, and with each answer."""
        self._hints[name] = hints
        if self._told.get(name, ()) != hints:
            self.polls.wake_holder(name)

    # The plan

    def plan(self, targets: Mapping[str, Target], limit_w: float, until_s: float | None = None) -> float | Refused:
        """Take what each should have under this limit; return the watts that cannot fit. Wakes whom it concerns.

        `until_s` is when the limit itself ends, on this grantor's clock; `None` if it does not.
        """
        if self.ledger is None:
            return NO_LEADER
        now_s = self.now()
        missing_w = self.ledger.plan(targets, limit_w, now_s, until_s)
        self.planned_s, self._targets = now_s, targets
        self._spread_news()
        return missing_w

    def hold_to(self, limit_w: float, until_s: float | None) -> None:
        """Hold the newest plan to another limit, or another end of it; the plan grows no younger by that."""
        if self.ledger and self.plans(self.now()):
            if limit_w == self.ledger.limit_w and until_s is not None and self.ledger.limit_until_s is not None:
                self.ledger.limit_until_s = until_s
            else:
                self.ledger.plan(self._targets, limit_w, self.now(), until_s)
                self._spread_news()

    def plans(self, now_s: float) -> bool:
        """Whether the plan is fresh enough to grant by it."""
        return now_s - self.planned_s <= self.terms.plan_lasts_s

    # Requests

    async def answer(self, renewal: Renewal) -> Reply | Refused:
        """Hear a renewal that was read just now, and reply at once or when there is news."""
        request = renewal.request
        if refused := self._hear(renewal):
            return refused
        wait_s = min(renewal.wait_s, self.terms.wait_max_s)
        if wait_s > 0.0 and not self._is_news(request) and not await self.polls.wait(request, wait_s):
            return SUPERSEDED
        return self._reply(request)

    def _hear(self, renewal: Renewal) -> Refused | None:
        ledger, request, now_s = self.ledger, renewal.request, self.now()
        if ledger is None:
            return NO_LEADER
        self._admit(ledger, request, now_s)
        committed_w = ledger.total_w
        if refused := ledger.hear(request, now_s):
            return refused
        self.renewals += 1
        self.polls.supersede(request.holder)
        if renewal.report is not None:
            self.reports[request.holder] = Heard(renewal.report, now_s)
        if renewal.share is not None:
            self.shares[request.holder] = HeardShare(renewal.share, now_s)
        self._save()
        if ledger.total_w < committed_w - self.terms.raise_news_w and self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_S, self._spread_news)
        return None

    def _admit(self, ledger: Ledger, request: Request, now_s: float) -> None:
        account = ledger.accounts.get(request.holder)
        if (account and not account.leaving) or request.epoch > ledger.epoch or not self.leads():
            return
        if member := self._membership.admit(request.holder):
            ledger.enrol(member, now_s)

    def _reply(self, request: Request) -> Reply | Refused:
        ledger, now_s = self.ledger, self.now()
        if ledger is None:
            return NO_LEADER
        answer = ledger.reply(request, now_s) if self.plans(now_s) else self._without_grant(ledger, request)
        if isinstance(answer, Refused):
            return answer
        hints = self._told[request.holder] = self._hints.get(request.holder, ())
        return Reply(answer=answer, hints=hints)

    def _without_grant(self, ledger: Ledger, request: Request) -> Answer | Refused:
        if not self.leads():
            return NO_LEADER
        if request.holder not in ledger.accounts:
            return Refused(f"{request.holder} is no member any more")
        return Answer(holder=request.holder, life=request.life, count=request.count, epoch=ledger.epoch, grant=None)

    def _save(self) -> None:
        if self.ledger:
            self.saver.follow(self.ledger, self._spread_news)

    # News

    def _is_news(self, request: Request) -> bool:
        ledger, name, now_s = self.ledger, request.holder, self.now()
        if ledger is None or request.epoch < ledger.epoch or name not in ledger.accounts:
            return True
        if self._told.get(name, ()) != self._hints.get(name, ()):
            return True
        if not self.plans(now_s):
            return False
        offer_w = ledger.offer_w(name, now_s)
        if offer_w is None:
            return False
        change_w = offer_w - request.may_draw_w
        return change_w < -self.terms.cut_news_w or change_w > self.terms.raise_news_w

    def _spread_news(self) -> None:
        if self._gathering:
            self._gathering.cancel()
            self._gathering = None
        self.polls.wake(self._is_news)
