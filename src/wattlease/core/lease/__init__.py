"""Watts are leased: the state machines of grantor and holder, without a socket or a clock.

The same words and the same code serve facility to cluster and cluster to node. A grantor keeps a `Ledger`, a holder
a `Holder`; what travels is a `Request` and its `Answer`. `now_s` is always the caller's *own* clock, one that neither
steps nor stops; no two clocks are ever compared, only spans on them (`words.DRIFT_FRAC`).

Rule 1: a holder draws at most its grant, and past the grant's expiry at most its fallback. It counts from when it
    *sent* the request, the grantor from when it *answered*, plus drift: the holder gives up first (`holder.allowed_w`).
Rule 2: the ledger counts for a holder the most it may draw: every unexpired grant that no acknowledged later one
    superseded, or its fallback, or what it admits to have in force. A member whose caps stay in the hardware when its
    agent dies (`Member.lapses` is false) has returned nothing by silence: its grants count until acknowledged away.
Rule 3: watts are raised only out of watts that were returned. Committed watts never pass the limit by a raise; if
    the limit itself falls, one time to live later they fit again (`Ledger.plan` cuts wishes that do not fit, and lets
    no wish grow while too much is committed). Only the caps of a dead agent that does not lapse cannot be called
    back; they are counted, and the next plan cuts the others by them.
Rule 4: fallbacks sum to at most `guaranteed_w`; `Ledger.fallback_shortfall_w` says by how much they do not.
Rule 5: epochs only rise, and leadership is a lease: whoever answers has read its clock *after* reading the request.
    A new leader fences first: a request made under an older epoch gets the epoch and nothing else, and is not
    believed. Until all are heard under the epoch, or one time to live has passed, nothing is raised; and where the
    limit may just have fallen, nothing is renewed either. A reply counts only for the request that is open. Members
    and fallbacks are on disk before they are sent (`Ledger.roster`, `Ledger.note_saved`); the old and the new
    fallback both count until the new one is acknowledged, which a holder does once it has it on its own disk.
Rule 6: going away never raises power. A holder that starts knows no grant, and an unknown grant is the fallback.
Rule 7: a member never heard counts at its nameplate; one that fell silent counts as in rule 2.
Rule 8: a grant never outlives the one it was made from: `Ledger.plan(until_s=...)` shortens grants to their parent's
    end, and after that end gives fallbacks only; `guaranteed_w` of a cluster is its own fallback.
"""

from wattlease.core.lease.account import Listed, Member, Roster, Target
from wattlease.core.lease.holder import Holder, allowed_w, ask, hear, with_fallback
from wattlease.core.lease.ledger import Ledger
from wattlease.core.lease.words import (
    DRIFT_FRAC,
    TTL_S,
    Answer,
    Grant,
    Refused,
    Request,
    lasts_s,
    plain,
    read,
)

__all__ = [
    "DRIFT_FRAC",
    "TTL_S",
    "Answer",
    "Grant",
    "Holder",
    "Ledger",
    "Listed",
    "Member",
    "Refused",
    "Request",
    "Roster",
    "Target",
    "allowed_w",
    "ask",
    "hear",
    "lasts_s",
    "plain",
    "read",
    "with_fallback",
]
