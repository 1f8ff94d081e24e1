"""`wattlease pki`: certificates for a site that has no authority of its own.

Each command imports what it works with when it runs, so that `wattlease --help` stays quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click

FOLDER = click.Path(file_okay=False, path_type=Path)
DAYS = click.IntRange(1, 3650)


@click.group()
def pki() -> None:
    """Make the certificates by which nodes and grantors know each other.

    DIR holds the site's authority. Whoever can read its ca.key can speak for every node: keep it off the nodes.
    """


@pki.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--site", default="wattlease", show_default=True, help="The site's name, as certificates show it.")
def init(folder: Path, site: str) -> None:
    """Make the authority of a site, for ten years."""
    from wattlease.runtime import pki as authority

    with _told():
        issued = authority.found(folder, site)
    click.echo(f"{issued.key}: keep it here, for its owner only; back it up")
    click.echo(f"{issued.certificate}: copy it to every node and every grantor, as /etc/wattlease/tls/ca.crt")


@pki.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.argument("name")
@click.option("--days", default=365, show_default=True, type=DAYS, help="How long it is valid.")
@click.option("--san", "also", multiple=True, help="A host name or address to put in beside; may be repeated.")
@click.option("--cluster", is_flag=True, help="NAME is a cluster that asks its facility, not a node.")
@click.option("--renew", is_flag=True, help="Make it anew, with a new key, in place of the one that is there.")
def node(folder: Path, name: str, days: int, also: tuple[str, ...], cluster: bool, renew: bool) -> None:
    """Make the certificate by which the agent of node NAME is known."""
    from wattlease.runtime import pki as authority

    kind: Literal["node", "cluster"] = "cluster" if cluster else "node"
    with _told():
        issued = authority.issue_holder(folder, name, days, kind=kind, also=also, renew=renew)
    _say_where(issued.certificate, issued.key, name, "node")


@pki.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.argument("name")
@click.option("--host", "hosts", multiple=True, required=True, help="Name or address it is asked under; repeatable.")
@click.option("--days", default=365, show_default=True, type=DAYS, help="How long it is valid.")
@click.option("--renew", is_flag=True, help="Make it anew, with a new key, in place of the one that is there.")
def grantor(folder: Path, name: str, hosts: tuple[str, ...], days: int, renew: bool) -> None:
    """Make the certificate by which grantor NAME (a controller or facility) is known."""
    from wattlease.runtime import pki as authority

    with _told():
        issued = authority.issue_grantor(folder, name, days, hosts, renew=renew)
    _say_where(issued.certificate, issued.key, name, "grantor")


def _say_where(certificate: Path, key: Path, name: str, role: str) -> None:
    click.echo(f"copy to {name}, readable by Wattlease's user only; a running process takes them up by itself:")
    click.echo(f"  {certificate} -> /etc/wattlease/tls/{role}.crt")
    click.echo(f"  {key} -> /etc/wattlease/tls/{role}.key")
    click.echo(f"then remove {key} here")


@contextmanager
def _told() -> Iterator[None]:
    """Show what went wrong as a sentence."""
    from wattlease.runtime.pki import PkiError

    try:
        yield
    except (PkiError, OSError) as trouble:
        raise click.ClickException(str(trouble)) from trouble
