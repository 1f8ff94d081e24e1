"""The node's own fast guard: when it draws more than its grant although its limits fit, it takes watts off the limits.

Caps overshoot for milliseconds to a second or so, and energy counters move in steps of up to 100 ms; so neither a
single sample nor a short window proves anything. Two windows do, as a breaker's curve does: a second of clearly too
much, or ten seconds of a little too much. After a cut the next waits until its window has seen it at work.

Rule 1: nothing is cut without a window's mean above what is allowed; then at least the mean's excess is.
Rule 2: a cut never raises anything, and what is taken off comes back slowly and only while the node draws less.
Rule 3: a card without a reading draws the highest limit it may have.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

WINDOWS = ((1.0, 0.05), (10.0, 0.005))
"""(seconds, fraction of what is allowed that the mean must be above it). A counter's step of 100 ms is 10 % of one
card's second, about 3.5 % of eight cards' that are out of step, and a tenth of that in ten seconds."""

LETS_GO_FRAC_PER_S = 0.05 / 60.0
"""A ramp of 5 % of what is allowed per minute, as every other release."""

CALM_S = 10.0
"""So long the node must have drawn no more than allowed before any of it comes back."""

GIVES_MIN_FRAC = 0.25
"""A cut is enlarged for cards which it does not touch because they draw little; at most fourfold."""

SAME_TIME_S = 1e-6


@dataclass(frozen=True, slots=True)
class Guard:
    """What is taken off the node's watts now, since when no cut came, and since when the node has been calm."""

    off_w: float = 0.0
    cut_s: float = float("-inf")
    over_s: float = float("-inf")
    now_s: float | None = None
    cuts: int = 0


def guarded(
    guard: Guard,
    now_s: float,
    means_w: Iterable[float | None],
    allowed_w: float,
    gives_frac: float = 1.0,
    least_w: float = 0.0,
) -> Guard:
    """One step. `means_w` are the node's mean draw over each of `WINDOWS`, `None` where one has not filled since the
    last cut; `gives_frac` is the part of what the cards can give that sits on cards drawing near their limits;
    `least_w` is what the node may draw with every card as low as it goes: no more than down to there is taken, for what
    nobody gave would have to come back at the ramp all the same."""
    known_w = [(mean_w, frac) for mean_w, (_, frac) in zip(means_w, WINDOWS, strict=True) if mean_w is not None]
    most_w = max((mean_w for mean_w, _ in known_w), default=allowed_w)
    over_s = now_s if most_w > allowed_w else guard.over_s
    cut_w = max((mean_w - allowed_w for mean_w, frac in known_w if mean_w > allowed_w * (1.0 + frac)), default=0.0)
    if cut_w > 0.0:
        most_off_w = max(guard.off_w, allowed_w - least_w, 0.0)
        off_w = min(guard.off_w + cut_w / max(gives_frac, GIVES_MIN_FRAC), most_off_w)
        return Guard(off_w, now_s, over_s, now_s, guard.cuts + 1)
    step_s = 0.0 if guard.now_s is None else max(0.0, now_s - guard.now_s)
    ramp_w = LETS_GO_FRAC_PER_S * allowed_w * step_s if now_s - over_s >= CALM_S else 0.0
    off_w = max(0.0, guard.off_w - min(ramp_w, max(0.0, allowed_w - most_w)))
    return replace(guard, off_w=off_w, over_s=over_s, now_s=now_s)


@dataclass(frozen=True, slots=True)
class Sample:
    """A card at `at_s`: its draw as read, summed over time since the first sample, and its energy counter, which stood
    there at `stood_s` already."""

    at_s: float
    power_w: float
    energy_j: float | None
    drawn_j: float
    stood_s: float


@dataclass(slots=True)
class Draws:
    """The last samples of one card, as long as the longest window."""

    samples: deque[Sample] = field(default_factory=deque)

    def add(
        self, at_s: float, power_w: float | None, energy_j: float | None, most_w: float, asked_s: float | None = None
    ) -> None:
        """Take a sample, `most_w` in place of a missing draw, read between `asked_s` and `at_s`; those older than the
        longest window reaches go."""
        drawn_w = most_w if power_w is None else power_w
        stood_s = at_s if asked_s is None else asked_s
        last = self.samples[-1] if self.samples else Sample(at_s, drawn_w, None, 0.0, stood_s)
        drawn_j = last.drawn_j + drawn_w * (at_s - last.at_s)
        stood_s = last.stood_s if energy_j == last.energy_j else stood_s
        self.samples.append(Sample(at_s, drawn_w, energy_j, drawn_j, stood_s))
        begins_s = at_s - WINDOWS[-1][0] + SAME_TIME_S
        while len(self.samples) > 1 and self.samples[1].at_s <= begins_s:
            self.samples.popleft()

    def mean_w(self, window_s: float) -> float:
        """Mean draw over the last `window_s`: by the energy counter where it moves, else by the draws read.

        The window begins with a sample, and rather sooner than later: a shorter one would feel the counter's steps.
        What a counter counts at once after it stood still was drawn since it stood; and on a host too busy to tell
        when within a reading a counter was read, the longest span that can be is taken: the mean blames nobody falsely.
        """
        last = self.samples[-1]
        begins_s = last.at_s - window_s + SAME_TIME_S
        first = self.samples[max(0, bisect_right(self.samples, begins_s, key=_at_s) - 1)]
        span_s = last.at_s - first.at_s
        if span_s <= 0.0:
            return last.power_w
        # a counter that is neither frozen nor begun anew
        if first.energy_j is not None and last.energy_j is not None and last.energy_j > first.energy_j:
            return (last.energy_j - first.energy_j) / (last.at_s - first.stood_s)
        return (last.drawn_j - first.drawn_j) / span_s


def _at_s(sample: Sample) -> float:
    return sample.at_s
