"""The node's own fast guard: when it draws more than its grant although its limits fit, it takes watts off the limits.

Caps overshoot for milliseconds to a second or so, and energy counters move in steps of up to 100 ms; so neither a
single sample nor a short window proves anything. Two windows do, as a breaker's curve does: a second of clearly too
much, or ten seconds of a little too much. After a cut the next waits until its window has seen it at work.

Rule 1: nothing is cut without a window's mean above what is allowed; then at least the mean's excess is.
Rule 2: a cut never raises anything, and what is taken off comes back slowly and only while the node draws less.
Rule 3: a card without a reading draws the highest limit it may have.
Rule 4: no mean is more than can have been drawn: a counter that stood still and caught up, or a thread that waited for
    its core, must not pass for a burst.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf

WINDOWS = ((1.0, 0.05), (10.0, 0.005))
"""(seconds, fraction of what is allowed that the mean must be above it). A counter's step of 100 ms is 10 % of one
card's second, about 3.5 % of eight cards' that are out of step, and a tenth of that in ten seconds."""

LETS_GO_FRAC_PER_S = 0.05 / 60.0
"""A ramp of 5 % of what is allowed per minute, as every other release."""

CALM_S = 10.0
"""So long the node must have drawn no more than allowed before any of it comes back."""

GIVES_MIN_FRAC = 0.25
"""A cut is enlarged for cards which it does not touch because they draw little; at most fourfold."""

DEAD_FRAC = 0.02
"""A sensor that never moves is dead if the counter tells of so much more: a step of 100 ms in half of ten seconds."""

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
    """A card asked at `asked_s` and heard at `at_s`: its energy counter, and its draw summed since the first sample.

    `read_w` is the draw that it told, `None` where it told none and `power_w` is the most it may draw.
    """

    asked_s: float
    at_s: float
    power_w: float
    read_w: float | None
    energy_j: float | None
    drawn_j: float


@dataclass(slots=True)
class Draws:
    """The last samples of one card, as long as the longest window."""

    samples: deque[Sample] = field(default_factory=deque)

    def add(
        self, at_s: float, power_w: float | None, energy_j: float | None, most_w: float, asked_s: float | None = None
    ) -> None:
        """Take a sample, `most_w` in place of a missing draw; those older than the longest window reaches go.

        Without `asked_s` the card answered at once.
        """
        drawn_w = most_w if power_w is None else power_w
        last_s, drawn_j = (self.samples[-1].at_s, self.samples[-1].drawn_j) if self.samples else (at_s, 0.0)
        drawn_j += drawn_w * (at_s - last_s)
        self.samples.append(Sample(at_s if asked_s is None else asked_s, at_s, drawn_w, power_w, energy_j, drawn_j))
        begins_s = at_s - WINDOWS[-1][0] + SAME_TIME_S
        while len(self.samples) > 1 and self.samples[1].at_s <= begins_s:
            self.samples.popleft()

    def mean_w(self, window_s: float) -> float:
        """Mean draw over the last `window_s`: by the energy counter where it moves, else by the draws read.

        The window begins with a sample, and rather sooner than later: a shorter one would feel the counter's steps.
        """
        last = self.samples[-1]
        begins_s = last.at_s - window_s + SAME_TIME_S
        begins = max(0, bisect_right(self.samples, begins_s, key=_at_s) - 1)
        first = self.samples[begins]
        span_s = last.at_s - first.at_s
        if span_s <= 0.0:
            return last.power_w
        if first.energy_j is not None and last.energy_j is not None and last.energy_j > first.energy_j:
            counted_w = (last.energy_j - first.energy_j) / (last.at_s - first.asked_s)
            return min(counted_w, self._highest_w(begins))  # the counter is neither frozen nor begun anew
        return (last.drawn_j - first.drawn_j) / span_s

    def _highest_w(self, begins: int) -> float:
        """The highest draw read since a sample; no bound where one was not read, or the sensor is dead."""
        reads_w = [sample.read_w for sample in islice(self.samples, begins, None)]
        told_w = [read_w for read_w in reads_w if read_w is not None]
        return max(told_w) if len(told_w) == len(reads_w) and not self._dead() else inf

    def _dead(self) -> bool:
        """Whether all samples have the same draw while the counter tells of more, first and last: one that stood still
        and caught up tells of more in one half only."""
        first, last = self.samples[0], self.samples[-1]
        if last.at_s - first.at_s < WINDOWS[-1][0] - SAME_TIME_S or len({sample.read_w for sample in self.samples}) > 1:
            return False
        middle = self.samples[bisect_right(self.samples, (first.at_s + last.at_s) / 2.0, key=_at_s) - 1]
        return _tells_more(first, middle) and _tells_more(middle, last)


def _tells_more(first: Sample, last: Sample) -> bool:
    """Whether the counter tells of more between two samples than the draw read does."""
    if first.energy_j is None or last.energy_j is None or last.read_w is None:
        return False
    return last.energy_j - first.energy_j > (1.0 + DEAD_FRAC) * last.read_w * (last.at_s - first.asked_s)


def _at_s(sample: Sample) -> float:
    return sample.at_s
