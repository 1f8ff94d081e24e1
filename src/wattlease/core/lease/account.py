"""One member in the ledger: what it was promised, what it reported, and the most it may be drawing."""

from dataclasses import dataclass, field
from math import fsum
from typing import Self

from pydantic import StrictBool, model_validator

from wattlease.core.lease.words import Caps, Count, Name, Request, Seconds, Span, Watts, Word


class Member(Word):
    """Who may hold a part of the limit.

    `lapses` says that it falls to its fallback by itself though its holder is dead, as a cluster does whose nodes'
    grants run out with its own. A node whose caps stay in the hardware does not.
    """

    name: Name
    fallback_w: Watts
    nameplate_w: Watts
    lapses: StrictBool = False

    @model_validator(mode="after")
    def _fallback_within_nameplate(self) -> Self:
        if self.fallback_w > self.nameplate_w:
            raise ValueError(f"fallback_w {self.fallback_w} is above nameplate_w {self.nameplate_w}; lower it")
        return self


class Listed(Word):
    """A member as the disk remembers it; `counted_w` is the largest fallback it may still go to."""

    member: Member
    counted_w: Watts
    leaving: StrictBool = False


class Roster(Word):
    """What a grantor must have on disk before it speaks: the members, and the longest grant it may have given."""

    ttl_s: Span
    listed: tuple[Listed, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What the plan would give a member, and the caps of its cards that go with it."""

    watts_w: float
    caps_w: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Promise:
    """A grant as its grantor counts it: until when, on its own clock, the holder may use it."""

    sequence: Count
    watts_w: Watts
    until_s: Seconds


@dataclass(frozen=True, slots=True)
class Fallback:
    """The fallback that grants from this sequence on carry."""

    sequence: Count
    watts_w: Watts


@dataclass(slots=True)
class Account:
    """One member's line in the ledger. Only the ledger changes it."""

    member: Member
    fallbacks: list[Fallback]
    revision: Count
    promises: list[Promise] = field(default_factory=list)
    heard: bool = False
    leaving: bool = False
    life: str = ""
    count: Count = 0
    in_force_w: Watts = 0.0
    in_force_until_s: Seconds = 0.0
    reported_w: Watts = 0.0
    target_w: Watts | None = None
    caps_w: Caps = ()
    counted_w: Watts = 0.0
    due_s: Seconds | None = None

    @property
    def sticks(self) -> bool:
        """Whether silence returns nothing: its caps stay in the hardware while its holder is dead."""
        return not (self.member.lapses or self.leaving)

    def fallback_w(self) -> float:
        """The largest fallback that it may still go to."""
        if len(self.fallbacks) == 1:
            return self.fallbacks[0].watts_w
        return max(fallback.watts_w for fallback in self.fallbacks)

    def lawful_w(self, now_s: float) -> float:
        """The most it may draw by what it was told (rule 2)."""
        worst_w = 0.0 if self.leaving else self.fallback_w()
        for promise in self.promises:
            if promise.watts_w > worst_w and (promise.until_s > now_s or self.sticks):
                worst_w = promise.watts_w
        return worst_w

    def renewable_w(self, now_s: float) -> float:
        """What it surely may draw already, so that granting it raises nothing: nothing expired, no offered fallback."""
        running_w = [promise.watts_w for promise in self.promises if promise.until_s > now_s]
        return max(self.reported_w, *running_w, 0.0)

    def liability_w(self, now_s: float, wait_until_s: float) -> float:
        """The most it may be drawing: by what it was told, by what it admits, or unknown (rule 7)."""
        if not self.heard and (now_s < wait_until_s or self.sticks):
            return max(self.member.nameplate_w, self.fallback_w())
        lawful_w = self.lawful_w(now_s)
        admitted_w = self.in_force_w if self.in_force_until_s > now_s or self.sticks else 0.0
        return admitted_w if admitted_w > lawful_w else lawful_w

    def falls_s(self, now_s: float, wait_until_s: float) -> float | None:
        """The next time at which its liability may fall by itself, if there is one."""
        if self.sticks:
            return None
        if not self.heard:
            return wait_until_s if wait_until_s > now_s else None
        ends_s = [self.in_force_until_s, *(promise.until_s for promise in self.promises)]
        return min((end_s for end_s in ends_s if end_s > now_s), default=None)

    def is_silent(self, now_s: float) -> bool:
        """Whether no grant of this leader's is running at it, so that none can be lowered."""
        return not self.promises or self.promises[-1].until_s <= now_s

    def wanted_w(self, target: Target | None) -> float:
        """What the plan would give it above its fallback."""
        return max(0.0, min(target.watts_w, self.member.nameplate_w) - self.member.fallback_w) if target else 0.0

    def aim(self, target: Target | None, share_frac: float, may_grow: bool) -> None:
        """Aim at its fallback and this share of what the plan would give it above."""
        aimed_w = self.member.fallback_w + share_frac * self.wanted_w(target)
        if not may_grow and self.target_w is not None:
            aimed_w = max(self.member.fallback_w, min(aimed_w, self.target_w))
        self.target_w = aimed_w
        self.caps_w = _lowered(target.caps_w, target.watts_w - aimed_w) if target else ()

    def caps_within_w(self, watts_w: float) -> tuple[float, ...]:
        """The caps that go with a grant which may be less than was aimed at."""
        return _lowered(self.caps_w, (self.target_w or 0.0) - watts_w)

    def promise(self, sequence: int, watts_w: float, until_s: float) -> None:
        """Note a grant; an earlier one that it outlasts and exceeds need not be kept beside it."""
        kept = self.promises
        while kept and kept[-1].watts_w <= watts_w and kept[-1].until_s <= until_s:
            kept.pop()
        kept.append(Promise(sequence, watts_w, until_s))

    def acknowledge(self, sequence: int) -> None:
        """Forget what the holder can no longer use: promises and fallbacks before the sequence it has in force."""
        if self.promises and self.promises[0].sequence < sequence:
            self.promises = [promise for promise in self.promises if promise.sequence >= sequence]
        while len(self.fallbacks) > 1 and self.fallbacks[1].sequence <= sequence:
            self.fallbacks.pop(0)

    def offer_fallback(self, sequence: int) -> None:
        """The grants from this sequence on carry the member's fallback."""
        self.fallbacks.append(Fallback(sequence, self.member.fallback_w))

    def note(self, request: Request, in_force_until_s: float) -> None:
        """Remember the report. A new life's is not surely the newer one, so of both the less favourable counts once."""
        in_force_w, reported_w = request.in_force_w, min(request.fallback_w, self.fallback_w())
        if self.heard and request.life != self.life:
            in_force_w, reported_w = max(in_force_w, self.in_force_w), min(reported_w, self.reported_w)
        self.in_force_w, self.in_force_until_s, self.reported_w = in_force_w, in_force_until_s, reported_w
        self.life, self.count, self.heard = request.life, request.count, True


def _lowered(caps_w: tuple[float, ...], lacking_w: float) -> tuple[float, ...]:
    """The caps with what is lacking taken from all in proportion; the agent keeps to each card's range."""
    if lacking_w <= 0.0 or not any(caps_w):
        return caps_w
    share_frac = max(0.0, 1.0 - lacking_w / fsum(caps_w))
    return tuple(cap_w * share_frac for cap_w in caps_w)
