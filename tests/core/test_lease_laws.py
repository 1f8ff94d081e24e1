"""The laws of the lease in worlds of faults (see conftest.py), and that each rule is needed: break it, and it shows.

WATTLEASE_LEASE_STEPS sets how many steps the lawful worlds take (300,000 of each kind unless it is set).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from wattlease.core.lease import Answer, Holder, Ledger, Request

STEPS = int(os.environ.get("WATTLEASE_LEASE_STEPS", "300000"))
FORGED_STEPS = 400_000
STEPS_PER_SEED = 2_000


@dataclass(frozen=True)
class Forgery:
    """A world in which one rule is broken, to see that the breach is noticed; as it stands, none is."""

    begun: Callable[[Ledger], None] = lambda ledger: None
    enrolled: Callable[[Ledger], None] = lambda ledger: None
    read: Callable[[Request, Ledger], Request] = lambda request, ledger: request
    heard: Callable[[Holder, Answer, float], tuple[Holder, Answer]] = lambda holder, answer, now_s: (holder, answer)
    in_force_w: Callable[[float, float], float] = lambda hardware_w, allowed_w: hardware_w
    overstay_s: float = 0.0
    plagued_by: tuple[str, ...] = ()


@dataclass
class Outcome:
    """How often the worlds were full to the limit, and where more was drawn than it allows, if anywhere."""

    steps: int = 0
    full_steps: int = 0
    breach: str | None = None


RunWorlds = Callable[..., Outcome]


@pytest.fixture(name="run_worlds")
def _run_worlds(lease_world: Any) -> RunWorlds:
    def run_worlds(steps: int, lapses: bool = True, forgery: Forgery | None = None) -> Outcome:
        """Run worlds, each from its own seed, until one breaks the law or all steps are done."""
        outcome = Outcome()
        for seed in range(steps // STEPS_PER_SEED):
            world = lease_world(seed, lapses, forgery or Forgery())
            for _ in range(STEPS_PER_SEED):
                world.step()
                outcome.steps += 1
                if (excess_w := world.excess_w()) > 1e-6:
                    outcome.breach = f"seed {seed}, step {world.steps}: {excess_w:.3f} W over at {world.now_s:.1f} s"
                    return outcome
            outcome.full_steps += world.full_steps
        return outcome

    return run_worlds


@pytest.mark.parametrize("lapses", [True, False], ids=["clusters", "nodes"])
def test_what_all_draw_never_passes_the_limit_whatever_the_scheduler_does(run_worlds: RunWorlds, lapses: bool) -> None:
    """Where a dead holder's caps stay in the hardware (nodes) and where its grants run out with it (clusters)."""
    outcome = run_worlds(STEPS, lapses)
    assert outcome.breach is None
    assert outcome.full_steps > outcome.steps * 0.02, "worlds that never fill up to their limit show nothing"


def believe_any_epoch(request: Request, ledger: Ledger) -> Request:
    return request.model_copy(update={"epoch": max(request.epoch, ledger.epoch)})


def learn_epoch_from_any_grant(holder: Holder, answer: Answer, now_s: float) -> tuple[Holder, Answer]:
    return replace(holder, epoch=max(holder.epoch, answer.epoch)), answer


def take_any_answer(holder: Holder, answer: Answer, now_s: float) -> tuple[Holder, Answer]:
    return holder, answer.model_copy(update={"life": holder.life, "count": holder.count})


def count_from_receipt(holder: Holder, answer: Answer, now_s: float) -> tuple[Holder, Answer]:
    return (replace(holder, asked_s=now_s) if holder.asked_s is not None else holder), answer


def wait_for_nobody(ledger: Ledger) -> None:
    ledger.wait_until_s = ledger.leads_from_s
    for account in ledger.accounts.values():
        ledger.total_w += account.member.fallback_w - account.counted_w
        account.counted_w, account.due_s = account.member.fallback_w, None


def forget_the_old_fallback(ledger: Ledger) -> None:
    for account in ledger.accounts.values():
        del account.fallbacks[:-1]


FORGERIES: dict[str, Forgery] = {
    "no fence": Forgery(
        read=believe_any_epoch,
        heard=learn_epoch_from_any_grant,
        plagued_by=("hand_over", "repeat", "change_plan"),
    ),
    "no wait": Forgery(begun=wait_for_nobody, plagued_by=("hand_over", "lose", "change_plan")),
    "counted from receipt": Forgery(heard=count_from_receipt, plagued_by=("change_plan", "lose")),
    "any answer counts": Forgery(heard=take_any_answer, plagued_by=("repeat", "change_plan")),
    "leadership outstays its term": Forgery(overstay_s=1e9, plagued_by=("pause", "depose", "change_plan")),
    "acknowledged before lowered": Forgery(in_force_w=min, plagued_by=("change_plan",)),
    "only the new fallback counts": Forgery(
        enrolled=forget_the_old_fallback,
        plagued_by=("change_fallback", "crash_node", "change_plan"),
    ),
}


@pytest.mark.parametrize("rule", FORGERIES)
def test_a_world_that_breaks_one_rule_breaks_the_limit(run_worlds: RunWorlds, rule: str) -> None:
    outcome = run_worlds(FORGED_STEPS, forgery=FORGERIES[rule])
    print(f"{rule}: after {outcome.steps} steps, {outcome.breach}")
    assert outcome.breach is not None
