"""Stories for people: a table on a terminal, plain lines in a pipe, JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
import orjson

from wattlease.core import explain
from wattlease.runtime.printed import clock, print_entries, print_rows, shown
from wattlease.runtime.story import NodeStory, Story
from wattlease.runtime.story_jobs import JobStory


def print_json(story: Story) -> None:
    """The story with all its fields; unknown numbers are null."""
    data: Any = [asdict(s) for s in story] if isinstance(story, list) else asdict(story)
    click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))


def print_story(story: Story) -> None:
    """The story in words."""
    match story:
        case JobStory():
            print_job(story)
        case NodeStory():
            print_node(story)
        case _:
            print_jobs(story)


def print_jobs(stories: Sequence[JobStory]) -> None:
    """Every job with its newest state and last sentence."""
    print_rows(
        ("job", "name", "owner", "GPUs", "state", "speed", "cost", "last"),
        [(s.id, s.name, s.owner, str(s.gpus), _state(s), _share(s), f"{s.cost:.2f}", s.sentence) for s in stories],
        numbers=("GPUs", "speed", "cost"),
    )


def print_job(story: JobStory) -> None:
    """A job's whole story, newest state first."""
    click.echo(shown(f"job {story.id} ({story.name}, {story.owner}): {_state(story)}, {story.gpus} GPUs"))
    if not story.ended and math.isfinite(story.seen_s):
        parts = [f"as of {clock(story.seen_s)} UTC"]
        parts += [f"cap {story.cap_w:.0f} W a GPU"] if math.isfinite(story.cap_w) else []
        parts += [f"draws {explain.watts(story.job_w)}"] if math.isfinite(story.job_w) else []
        parts += [f"keeps {story.speed_frac:.1%} of its speed"] if math.isfinite(story.speed_frac) else []
        click.echo("; ".join(parts))
    click.echo(shown(story.sentence))
    click.echo(f"cost of steering so far: {story.cost:.2f}")
    print_entries(story.entries)


def print_node(story: NodeStory) -> None:
    """A node's grant and what limited it."""
    drawn = f"draws {explain.watts(story.draw_w)}" if math.isfinite(story.draw_w) else "draw not known"
    click.echo(shown(f"node {story.id} ({story.cluster}): granted {explain.watts(story.grant_w)}, {drawn}"))
    click.echo(shown(f"as of {clock(story.seen_s)} UTC; limited by {story.limited_by}"))
    print_entries(story.entries)


def _state(story: JobStory) -> str:
    return "ended" if story.ended else story.state


def _share(story: JobStory) -> str:
    return f"{story.speed_frac:.1%}" if math.isfinite(story.speed_frac) else "-"
