"""`wattlease status`: how the site stands, in a few lines and an exit code."""

from __future__ import annotations

import click

from wattlease.runtime.page_option import page_url

NOT_HELD, NOT_REACHED = 1, 2


@click.command()
@page_url
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(url: str, as_json: bool) -> None:
    """Say how the site stands: its limit, what binds it, its draw, its jobs, and what comes next.

    Exit code 0: within the limit. 1: over it, without a fresh meter, or the controller stands still. 2: the page
    cannot be reached or has decided nothing yet.
    """
    # what it works with is heavy, and --help needs none of it
    import orjson

    from wattlease.runtime.live import Away, Live
    from wattlease.runtime.printed import shown
    from wattlease.runtime.status_lines import held, lines, summary

    live = Live(url)
    seen = live.view()
    if isinstance(seen, Away):
        click.echo(f"{seen.text}; is the controller running, and is this its page? Name another with --url", err=True)
        raise SystemExit(NOT_REACHED)
    stale = live.stale()
    if as_json:
        click.echo(orjson.dumps(summary(seen, stale), option=orjson.OPT_INDENT_2))
    else:
        for line in lines(seen, stale):
            click.echo(shown(line))
    if not held(seen, stale):
        raise SystemExit(NOT_HELD)
