"""What a record tells about a job or a node: what happened to it, why, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import numpy as np

from wattlease.core import explain
from wattlease.core.actions import Plan, ScopePlan
from wattlease.core.errors import WattleaseError
from wattlease.core.model import NONE, Snapshot
from wattlease.runtime.job_names import some
from wattlease.runtime.job_words import Entry
from wattlease.runtime.record import Tick, read
from wattlease.runtime.story_jobs import JobStory, Teller


class UnknownNameError(WattleaseError):
    """A job or node that the record does not know."""


@dataclass(slots=True)
class NodeStory:
    """A node through the record: an entry each time its grant or what limits it changed."""

    id: str
    cluster: str
    grant_w: float = float("nan")
    draw_w: float = float("nan")
    limited_by: str = ""
    entries: list[Entry] = field(default_factory=list)
    seen_s: float = float("nan")


Story = JobStory | NodeStory | list[JobStory]


def told(path: Path, name: str | None, until_s: float, watch: Callable[[Tick], None]) -> Story:
    """The story of the job with this id or name, else of the node; of every job where no name is given."""
    stories = job_stories(_until(until_s, read(path), watch))
    if name is None:
        return list(stories.values())
    if name in stories:
        return stories[name]
    named = [s for s in stories.values() if s.name == name]
    if len(named) > 1:
        raise UnknownNameError(f"{len(named)} jobs are called {name}; name one by its id: {some(s.id for s in named)}")
    found = named[0] if named else node_story(_until(until_s, read(path), watch), name)
    if found is None:
        raise UnknownNameError(f"{path}: no job or node {name}; the jobs are {some(stories) or 'none'}")
    return found


def _until(until_s: float, ticks: Iterable[Tick], watch: Callable[[Tick], None]) -> Iterator[Tick]:
    for tick in takewhile(lambda tick: tick.snapshot.now_s <= until_s, ticks):
        watch(tick)
        yield tick


def job_stories(ticks: Iterable[Tick]) -> dict[str, JobStory]:
    """Every job of the record by id, in the order in which they appeared."""
    teller = Teller()
    for tick in ticks:
        teller.hear(tick.snapshot, tick.plan)
    teller.settle()
    return teller.stories


def node_story(ticks: Iterable[Tick], node: str) -> NodeStory | None:
    """The node's grant through the record; None if no tick knows such a node."""
    story: NodeStory | None = None
    for tick in ticks:
        nodes = tick.snapshot.site.nodes
        if node not in nodes.id:
            continue
        i = nodes.id.index(node)
        story = story or NodeStory(node, nodes.cluster[i])
        limit = _tightest(tick.snapshot, tick.plan, int(nodes.scope[i]))
        grant_w = float(tick.plan.grant_w[i])
        limited_by = f"{limit.scope} ({limit.source})" if limit else "nothing"
        # less than a hundredth is the slack that follows demand, no news
        if limited_by != story.limited_by or not abs(grant_w - story.grant_w) <= 0.01 * story.grant_w:
            why = f"{explain.watts(limit.planned_w)} planned {explain.under(limit)}: {limit.text}" if limit else ""
            story.entries.append(Entry(tick.snapshot.now_s, f"granted {explain.watts(grant_w)}", why))
            story.grant_w, story.limited_by = grant_w, limited_by
        story.draw_w, story.seen_s = float(tick.snapshot.nodes.power_w[i]), tick.snapshot.now_s
    return story


def _tightest(snapshot: Snapshot, plan: Plan, scope: int) -> ScopePlan | None:
    """Of the node's scope and those above it, the one with the least room."""
    plans = {p.scope: p for p in plan.scopes}
    chain: list[ScopePlan] = []
    while scope != NONE:
        part = snapshot.site.scopes[scope]
        if part.id in plans:
            chain.append(plans[part.id])
        scope = part.parent
    return max(chain, key=lambda p: p.planned_w / p.limit_w if p.limit_w else np.inf, default=None)
