"""`--url`: which page a command asks."""

from __future__ import annotations

from urllib.parse import urlsplit

import click


def _checked(ctx: click.Context, param: click.Parameter, value: str) -> str:
    try:
        parts = urlsplit(value)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fine = False
    if not fine:
        raise click.BadParameter(f"{value!r} is no address of a page; write http://HOST:PORT")
    return value


page_url = click.option(
    "--url",
    envvar="WATTLEASE_URL",
    default="http://127.0.0.1:8080",
    show_default=True,
    show_envvar=True,
    callback=_checked,
    help="The controller's live page.",
)
