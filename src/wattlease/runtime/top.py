"""`wattlease top`: the site and its jobs on a terminal, as they are now."""

from __future__ import annotations

import sys

import click

from wattlease.runtime.page_option import page_url

SORTS = ("watts", "cost", "name")
NOT_REACHED = 2


@click.command()
@page_url
@click.option("--once", is_flag=True, help="Print one frame and end, as it also does where there is no terminal.")
@click.option("--sort", type=click.Choice(SORTS), default="watts", show_default=True, help="Which jobs come first.")
def top(url: str, once: bool, sort: str) -> None:
    """Show the limit, the draw and every job, live.

    q or Ctrl-C ends it, the arrows and page keys move through the jobs, w, c and n sort them by watts, cost and name.
    """
    # what it works with is heavy, and --help needs none of it
    from wattlease.runtime.top_screen import print_once, watch

    if once or not sys.stdout.isatty():
        if not print_once(url, sort):
            raise SystemExit(NOT_REACHED)
    else:
        watch(url, sort)
