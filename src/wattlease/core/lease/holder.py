"""The holder's side: ask, hear the answer, and know what may be drawn now."""

from dataclasses import dataclass, replace

from wattlease.core.lease.words import Answer, Count, Grant, Name, Refused, Request, Seconds, Stamp, Watts


@dataclass(frozen=True, slots=True)
class Holder:
    """All that a holder remembers. A start is `Holder(name, life, fallback_w)`: no grant, so its fallback holds.

    `life` is a word no earlier process of this name ever used, so that no answer to an earlier one counts.
    `fallback_w` is what a start finds on disk, or the configured one; only `with_fallback` changes it.
    """

    name: Name
    life: Name
    fallback_w: Watts
    epoch: Count = 0
    grant: Grant | None = None
    granted_from_s: Seconds = 0.0
    acknowledged: Stamp | None = None
    count: Count = 0
    asked_s: Seconds | None = None

    @property
    def expires_s(self) -> float:
        """When the grant runs out on this holder's clock; its own beginning of time where there is none."""
        return self.granted_from_s + self.grant.ttl_s if self.grant else float("-inf")


def allowed_w(holder: Holder, now_s: float) -> float:
    """The most it may draw; who needs time to lower asks for that much later than now."""
    if holder.grant and holder.granted_from_s <= now_s < holder.expires_s:
        return holder.grant.watts_w
    return holder.fallback_w


def ask(holder: Holder, now_s: float, in_force_w: float) -> tuple[Holder, Request]:
    """Report and ask anew; the request asked before is open no more. `in_force_w` is what the hardware reads back.

    A lower grant is acknowledged only once the hardware is down to it and its fallback is on disk.
    """
    grant = holder.grant
    acknowledged = holder.acknowledged
    if grant and in_force_w <= grant.watts_w and holder.fallback_w <= grant.fallback_w:
        acknowledged = (grant.epoch, grant.sequence)
    asked = replace(holder, count=holder.count + 1, asked_s=now_s, acknowledged=acknowledged)
    request = Request(
        holder=holder.name,
        life=holder.life,
        count=asked.count,
        epoch=holder.epoch,
        acknowledged=acknowledged,
        may_draw_w=allowed_w(holder, now_s),
        in_force_w=in_force_w,
        fallback_w=holder.fallback_w,
    )
    return asked, request


def hear(holder: Holder, answer: Answer) -> tuple[Holder, Refused | None]:
    """Take an answer, or say why it counts for nothing; then the holder is as it was."""
    if holder.asked_s is None or (answer.holder, answer.life, answer.count) != (holder.name, holder.life, holder.count):
        return holder, Refused(f"answers request {answer.life}/{answer.count} of {answer.holder}, which is not open")
    if answer.epoch < holder.epoch:
        return holder, Refused(f"epoch {answer.epoch} is over: {holder.epoch} has been seen")
    if answer.grant is None:
        return replace(holder, epoch=answer.epoch, asked_s=None), None
    if refused := _unfit(holder, answer.epoch, answer.grant):
        return holder, refused
    return replace(holder, grant=answer.grant, granted_from_s=holder.asked_s, asked_s=None), None


def with_fallback(holder: Holder, saved_w: float) -> Holder:
    """Fall back to `saved_w` from now on, which a restart would find: it is on disk already."""
    return replace(holder, fallback_w=saved_w)


def _unfit(holder: Holder, epoch: int, grant: Grant) -> Refused | None:
    if grant.holder != holder.name or grant.epoch != epoch:
        return Refused(f"the grant is for {grant.holder} under epoch {grant.epoch}, not what its answer says")
    if epoch > holder.epoch:
        return Refused(f"a grant under epoch {epoch}, which this holder had not seen when it asked")
    newest = holder.grant
    if newest and (grant.epoch, grant.sequence) <= (newest.epoch, newest.sequence):
        return Refused(f"grant {grant.epoch}/{grant.sequence} is not newer than {newest.epoch}/{newest.sequence}")
    return None
