"""The AC meter as a witness: whether the feed falls when a battery is ordered to discharge.

Only what the plan changes is looked at: help follows the load, so the feed tells nothing of it. One change proves
little, since the load moves too; WRONG of them in a row do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

WRONG = 3
CLEAR = 0.5
"""Of the change that the feed must show, either way."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The watts at a moment: of the feed at its meter, and of the order that the battery has taken."""

    at_s: float
    feed_w: float
    order_w: float


@dataclass(frozen=True, slots=True)
class Witness:
    """What has been seen of one battery; `wrong` counts changes in a row that the feed contradicted."""

    before: Scene | None = None
    wrong: int = 0

    @property
    def lie(self) -> str:
        """Why it is used no more, empty while there is no reason."""
        if self.wrong < WRONG:
            return ""
        text = f"the feed rose when it was to discharge, or fell when it was to charge, {self.wrong} times in a row"
        return f"{text}; it is used no more. Check how its converter counts discharge, then restart Wattlease"

    def began(self, scene: Scene | None) -> Witness:
        """The plan changes its order, alone; `None`: not alone, or nobody knows the feed."""
        return replace(self, before=scene)

    def looked(self, scene: Scene, look_s: float, floor_w: float) -> Witness:
        """Compare `look_s` after the change; after twice that it is too late."""
        before = self.before
        if before is None or scene.at_s - before.at_s < look_s:
            return self
        more_w = scene.order_w - before.order_w
        if scene.at_s - before.at_s > 2 * look_s or abs(more_w) < floor_w:
            return replace(self, before=None)
        rose_frac = (scene.feed_w - before.feed_w) / more_w
        if rose_frac >= CLEAR:
            return Witness(None, self.wrong + 1)
        return Witness(None, 0 if rose_frac <= -CLEAR else self.wrong)
