"""`wattlease agent`: run on a GPU node, or look only, or give back what the node had before.

Each way imports what it works with when it runs, so that `wattlease --help` stays quick.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wattlease.agent.settings import AgentSettings

CONFIG = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--config", required=True, type=CONFIG, help="The agent's settings, a YAML file.")
@click.option("--dry-run", "mode", flag_value="dry-run", help="Only read, and tell what would be done.")
@click.option("--check", "mode", flag_value="check", help="Print the settings and what is found here, and end.")
@click.option("--uninstall", "mode", flag_value="uninstall", help="Give every card its limit from before, and end.")
@click.option("--verbose", is_flag=True, help="Log more.")
def agent(config: Path, mode: str | None, verbose: bool) -> None:
    """Keep this node's GPUs within the power that they are granted.

    However it is stopped, limits stay as they are; only --uninstall raises them.
    """
    from wattlease.agent.settings import AgentSettings
    from wattlease.runtime.files import load

    settings = load(config, AgentSettings)
    _log_to_stderr(verbose)
    ways = {"dry-run": _dry_run, "check": _check, "uninstall": _uninstall}
    ways.get(mode or "", _run)(settings)


def _run(settings: AgentSettings) -> None:
    import asyncio

    from wattlease.agent import assembly
    from wattlease.agent.agent import Agent, until_told_to_stop
    from wattlease.agent.state_folder import AgentFolder
    from wattlease.core.errors import WattleaseError

    async def work() -> None:
        await Agent(settings, folder).run()

    folder = AgentFolder(settings.state_folder)
    with folder.held():
        assembly.make_virtual_cards(settings)
        try:
            asyncio.run(until_told_to_stop(work))
        except BaseExceptionGroup as failed:
            if known := failed.subgroup(WattleaseError):
                raise known.exceptions[0] from failed
            raise


def _dry_run(settings: AgentSettings) -> None:
    import asyncio

    from wattlease.agent.agent import until_told_to_stop
    from wattlease.agent.dry_run import watch

    asyncio.run(until_told_to_stop(lambda: watch(settings, click.echo)))


def _check(settings: AgentSettings) -> None:
    import asyncio

    from wattlease.agent.dry_run import check

    click.echo(settings.model_dump_json(by_alias=True, indent=2, exclude_none=True))
    found = asyncio.run(check(settings))
    for line in found.lines:
        click.echo(line)
    for trouble in found.troubles:
        click.echo(f"trouble: {trouble}", err=True)
    sys.exit(2 if found.troubles else 0)


def _uninstall(settings: AgentSettings) -> None:
    from wattlease.agent import assembly
    from wattlease.agent.originals import Originals
    from wattlease.agent.state_folder import AgentFolder

    folder = AgentFolder(settings.state_folder)
    with folder.held():
        originals = Originals(folder.originals)
        had_w = {uuid: original.limit_w for uuid, original in originals.kept.items()}
        left = assembly.hands(settings, originals).restore()
        for uuid in sorted(had_w.keys() - originals.kept.keys()):
            click.echo(f"card {uuid}: limit {had_w[uuid]:g} W, as before")
        if not left:
            folder.forget_fallback()
    if not had_w and not left:
        click.echo("no limit was ever set here; nothing to give back")
    for told in left:
        click.echo(f"not given back: {told}", err=True)
    sys.exit(2 if left else 0)


def _log_to_stderr(verbose: bool) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="at=%(asctime)s level=%(levelname)s from=%(name)s %(message)s",
    )
    for talkative in ("asyncio", "aiohttp"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
