"""The grantor's side: count what is out, and answer so that it never passes the limit by a raise."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import fsum, isfinite
from typing import Self

from pydantic import StrictBool

from wattlease.core.lease.account import Account, Fallback, Listed, Member, Promise, Roster, Target
from wattlease.core.lease.words import (
    DRIFT_FRAC,
    TTL_S,
    Answer,
    Count,
    Frac,
    Grant,
    Refused,
    Request,
    Seconds,
    Span,
    Watts,
    lasts_s,
)

ROUNDING_W = 1e-6
"""Sums of thousands of watts differ by less when their order does."""


@dataclass(slots=True)
class Ledger:
    """One leadership of one grantor, from `begin` on. All times are on the grantor's own clock."""

    epoch: Count
    guaranteed_w: Watts
    ttl_s: Span
    drift_frac: Frac
    leads_from_s: Seconds
    leads_until_s: Seconds
    wait_until_s: Seconds
    limit_stood: StrictBool
    limit_w: Watts
    limit_until_s: Seconds | None = None
    revision: Count = 0
    saved_revision: Count = 0
    sequence: Count = 0
    unheard: Count = 0
    total_w: float = 0.0
    accounts: dict[str, Account] = field(default_factory=dict)
    due: list[tuple[float, str]] = field(default_factory=list)

    @classmethod
    def begin(
        cls,
        epoch: int,
        roster: Roster,
        now_s: float,
        *,
        guaranteed_w: float,
        leads_until_s: float,
        leads_from_s: float | None = None,
        limit_stood: bool = False,
        ttl_s: float = TTL_S,
        drift_frac: float = DRIFT_FRAC,
    ) -> Self:
        """Lead from when the leader before has surely ended; `None` means that it has.

        `limit_stood` vouches that the limit has not fallen within one time to live; without it nothing is renewed
        while what is out may not fit. Until the first `plan` nobody is granted anything.
        """
        from_s = now_s if leads_from_s is None else max(now_s, leads_from_s)
        ledger = cls(
            epoch=epoch,
            guaranteed_w=guaranteed_w,
            ttl_s=ttl_s,
            drift_frac=drift_frac,
            leads_from_s=from_s,
            leads_until_s=leads_until_s,
            wait_until_s=from_s + lasts_s(max(ttl_s, roster.ttl_s), drift_frac),
            limit_stood=limit_stood,
            limit_w=guaranteed_w,
            revision=int(ttl_s > roster.ttl_s),
        )
        for listed in roster.listed:
            ledger._open(listed, now_s)
        return ledger

    def lead_until(self, until_s: float) -> None:
        """The leadership was renewed; `until_s` counts from before the renewal was sent."""
        self.leads_until_s = until_s

    # Members

    def roster(self) -> Roster:
        """What must be on disk; hand `revision` to `note_saved` once it is."""
        accounts = self.accounts.values()
        return Roster(
            ttl_s=self.ttl_s,
            listed=tuple(Listed(member=a.member, counted_w=a.fallback_w(), leaving=a.leaving) for a in accounts),
        )

    def note_saved(self, revision: int) -> None:
        """The roster taken at this revision is on disk; who changed since is still granted nothing."""
        self.saved_revision = max(self.saved_revision, revision)

    def enrol(self, member: Member, now_s: float) -> None:
        """Take in a member or change one; it is granted nothing until the roster is saved."""
        self.revision += 1
        account = self.accounts.get(member.name)
        if account is None:
            self._open(Listed(member=member, counted_w=member.fallback_w), now_s)
            return
        account.leaving, account.revision = False, self.revision
        if account.member.fallback_w != member.fallback_w:
            account.member = member
            account.offer_fallback(self.sequence + 1)
        account.member = member
        self._recount(account, now_s)

    def dismiss(self, name: str, now_s: float) -> None:
        """A member has left the limit's scope: it is answered no more, and counts until its last grant is over."""
        account = self.accounts[name]
        account.leaving = True
        self.revision += 1
        self._recount(account, now_s)

    # What is out

    def committed_w(self, now_s: float) -> float:
        """The most that all members together may be drawing now."""
        self._settle(now_s)
        return self.total_w

    def liability_w(self, name: str, now_s: float) -> float:
        """The most that this member may be drawing now."""
        return self.accounts[name].liability_w(now_s, self.wait_until_s)

    def limit_now_w(self, now_s: float) -> float:
        """The limit, or what is guaranteed once the grant that the limit came from is over (rule 8)."""
        return min(self.limit_w, self.guaranteed_w) if self._orphaned(now_s) else self.limit_w

    def fallback_shortfall_w(self) -> float:
        """By how many watts the members' fallbacks do not fit in what is guaranteed; 0 where they fit (rule 4)."""
        fallbacks_w = fsum(account.fallback_w() for account in self.accounts.values() if not account.leaving)
        return max(0.0, fallbacks_w - self.guaranteed_w)

    def waits(self, now_s: float) -> bool:
        """Whether someone may still hold an unknown grant of an earlier leader, so that nothing is raised."""
        return self.unheard > 0 and now_s < self.wait_until_s

    def silent(self, now_s: float) -> tuple[str, ...]:
        """The members that no grant can lower, since none of this leader's is running at them."""
        return tuple(name for name, account in self.accounts.items() if account.is_silent(now_s))

    # The plan

    def plan(
        self,
        targets: Mapping[str, Target],
        limit_w: float,
        now_s: float,
        until_s: float | None = None,
    ) -> float:
        """Take the limit, how long it holds, and what each member should have; return the watts that cannot fit.

        A member without a target gets its fallback. Targets that do not fit are cut in proportion to what they have
        above the fallbacks. While too much is committed no target grows: else a plan that swings between members
        would renew now the one, now the other, and the fall of the limit would never arrive.
        """
        if not (isfinite(limit_w) and limit_w >= 0.0 and all(isfinite(t.watts_w) for t in targets.values())):
            raise ValueError(f"limit and targets must be finite and the limit not negative: {limit_w} W")
        if now_s < self.leads_from_s and limit_w < self.limit_w:
            self.limit_stood = False  # the leader before may be lowering the ones while this one would renew the others
        self.limit_w, self.limit_until_s = limit_w, until_s
        self._settle(now_s)
        self.total_w = fsum(account.counted_w for account in self.accounts.values())
        over = self.total_w > self.limit_now_w(now_s) + ROUNDING_W
        fixed_w, wanted_w = self._demand_w(targets, now_s)
        spare_w = self.limit_now_w(now_s) - fixed_w
        share_frac = min(1.0, max(0.0, spare_w) / wanted_w) if wanted_w > 0.0 else 1.0
        for account in self.accounts.values():
            account.aim(targets.get(account.member.name), share_frac, may_grow=not over)
        return max(0.0, -spare_w)

    def offer_w(self, name: str, now_s: float) -> float | None:
        """What an answer would grant the member now; `None` if it would carry no grant."""
        self._settle(now_s)
        account = self.accounts[name]
        if account.target_w is None or account.leaving or account.revision > self.saved_revision:
            return None
        room_w = self.limit_now_w(now_s) - self.total_w
        fits = room_w >= -ROUNDING_W
        if not (fits or self.limit_stood or now_s >= self.wait_until_s):
            return None
        raises = fits and not self.waits(now_s)
        most_w = account.lawful_w(now_s) + max(0.0, room_w) if raises else account.renewable_w(now_s)
        fallback_w = account.member.fallback_w
        if most_w < fallback_w:
            return None
        return fallback_w if self._orphaned(now_s) else min(max(account.target_w, fallback_w), most_w)

    # Requests

    def answer(self, request: Request, now_s: float) -> Answer | Refused:
        """Hear a request and reply to it; `now_s` is read after the request was."""
        return self.hear(request, now_s) or self.reply(request, now_s)

    def hear(self, request: Request, now_s: float) -> Refused | None:
        """Count what a request made under this epoch reports and acknowledges; any other is not believed."""
        if refused := self._silence(request, now_s):
            return refused
        if request.epoch < self.epoch:
            return None
        account = self.accounts[request.holder]
        if request.life == account.life and request.count <= account.count:
            return Refused(f"request {request.count} of {request.holder} comes after {account.count}")
        own = request.acknowledged is not None and request.acknowledged[0] == self.epoch
        sequence = request.acknowledged[1] if own and request.acknowledged else 0
        if sequence > self.sequence:
            return Refused(f"{request.holder} acknowledges grant {sequence}; {self.sequence} is the last one given")
        if not account.heard:
            self.unheard -= 1
            account.promises.append(Promise(0, request.may_draw_w, self.wait_until_s))
        account.note(request, now_s + lasts_s(self.ttl_s, self.drift_frac))
        account.acknowledge(sequence)
        if request.fallback_w > account.fallback_w():
            self.revision += 1
            account.revision = self.revision
            account.fallbacks.append(Fallback(self.sequence, request.fallback_w))
            account.offer_fallback(self.sequence + 1)
        self._recount(account, now_s)
        self.limit_stood |= self.total_w <= self.limit_now_w(now_s)  # nothing unknown is left that would not fit
        return None

    def reply(self, request: Request, now_s: float) -> Answer | Refused:
        """Answer a request that was heard, at once or when there is news; `now_s` is read right before."""
        if refused := self._silence(request, now_s):
            return refused
        grant = self._grant(self.accounts[request.holder], now_s) if request.epoch == self.epoch else None
        return Answer(holder=request.holder, life=request.life, count=request.count, epoch=self.epoch, grant=grant)

    def _silence(self, request: Request, now_s: float) -> Refused | None:
        if not self.leads_from_s <= now_s < self.leads_until_s:
            return Refused(f"epoch {self.epoch} leads from {self.leads_from_s} until {self.leads_until_s}, not {now_s}")
        account = self.accounts.get(request.holder)
        if account is None or account.leaving:
            return Refused(f"{request.holder} is no member; enrol it")
        if request.epoch > self.epoch:
            return Refused(f"{request.holder} has seen epoch {request.epoch}, later than {self.epoch}")
        return None

    def _grant(self, account: Account, now_s: float) -> Grant | None:
        watts_w = self.offer_w(account.member.name, now_s)
        if watts_w is None:
            return None
        ttl_s = self._ttl_s(now_s)
        self.sequence += 1
        account.promise(self.sequence, watts_w, now_s + lasts_s(ttl_s, self.drift_frac))
        if watts_w > account.counted_w or (account.due_s is None and not account.sticks):
            self._recount(account, now_s)  # else it renews what is counted already
        return Grant(
            holder=account.member.name,
            epoch=self.epoch,
            sequence=self.sequence,
            watts_w=watts_w,
            fallback_w=account.member.fallback_w,
            ttl_s=ttl_s,
            caps_w=account.caps_within_w(watts_w),
        )

    def _ttl_s(self, now_s: float) -> float:
        if self.limit_until_s is None or self._orphaned(now_s):
            return self.ttl_s
        return min(self.ttl_s, (self.limit_until_s - now_s) / (1.0 + self.drift_frac))

    def _orphaned(self, now_s: float) -> bool:
        return self.limit_until_s is not None and now_s >= self.limit_until_s

    # Sums

    def _open(self, listed: Listed, now_s: float) -> None:
        member = listed.member
        fallbacks = [Fallback(0, listed.counted_w), Fallback(self.sequence + 1, member.fallback_w)]
        account = Account(member, fallbacks, revision=self.revision, leaving=listed.leaving)
        self.accounts[member.name] = account
        self.unheard += 1
        self._recount(account, now_s)

    def _demand_w(self, targets: Mapping[str, Target], now_s: float) -> tuple[float, float]:
        """What is spoken for, by fallbacks and by members that no grant can lower; and what is wanted above."""
        fixed_w, wanted_w = 0.0, 0.0
        for name, account in self.accounts.items():
            if account.is_silent(now_s) and now_s >= self.wait_until_s:
                fixed_w += account.counted_w
            else:
                fixed_w += account.member.fallback_w
                wanted_w += account.wanted_w(targets.get(name))
        return fixed_w, wanted_w

    def _settle(self, now_s: float) -> None:
        """Take back what has expired. Each account waits in `due` at most a few times, so this is cheap."""
        while self.due and self.due[0][0] <= now_s:
            due_s, name = heappop(self.due)
            account = self.accounts.get(name)
            if account and account.due_s == due_s:
                account.due_s = None
                self._recount(account, now_s)

    def _recount(self, account: Account, now_s: float) -> None:
        liability_w = account.liability_w(now_s, self.wait_until_s)
        self.total_w += liability_w - account.counted_w
        account.counted_w = liability_w
        falls_s = account.falls_s(now_s, self.wait_until_s)
        if falls_s is None:
            if account.leaving:
                self._close(account)
        elif account.due_s is None or falls_s < account.due_s:
            account.due_s = falls_s
            heappush(self.due, (falls_s, account.member.name))

    def _close(self, account: Account) -> None:
        del self.accounts[account.member.name]
        self.unheard -= not account.heard
        self.total_w -= account.counted_w
        self.revision += 1
