"""Who may hold a part of the limit: by name, or by a pattern of names whose nodes enrol with their first call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from wattlease.core.lease import Ledger, Member


@dataclass(frozen=True, slots=True)
class Kind:
    """Nodes whose names match, such as `gpu-*`, and what the site says of them; a node says nothing of itself."""

    pattern: str
    fallback_w: float
    nameplate_w: float

    def member(self, name: str) -> Member | None:
        """The member of this name, if it is of this kind."""
        if not fnmatchcase(name, self.pattern):
            return None
        return Member(name=name, fallback_w=self.fallback_w, nameplate_w=self.nameplate_w)


class Membership:
    """The configured members, and the kinds of nodes that may join them; the first kind that matches counts."""

    def __init__(self, members: Iterable[Member] = (), kinds: Iterable[Kind] = ()) -> None:
        self._named = {member.name: member for member in members}
        self._kinds = tuple(kinds)

    def admit(self, name: str) -> Member | None:
        """The member of this name, if it may be one."""
        if named := self._named.get(name):
            return named
        return next((member for kind in self._kinds if (member := kind.member(name))), None)

    def apply(self, ledger: Ledger, now_s: float) -> None:
        """Take in who is configured, change who was changed, and let go of who may be a member no more."""
        for name, account in list(ledger.accounts.items()):
            member = self.admit(name)
            if account.leaving:
                continue
            if member is None:
                ledger.dismiss(name, now_s)
            elif member != account.member:
                ledger.enrol(member, now_s)
        for name, member in self._named.items():
            known = ledger.accounts.get(name)
            if known is None or known.leaving:
                ledger.enrol(member, now_s)
