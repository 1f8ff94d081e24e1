"""The command `wattlease`: every package adds its own by the entry points `wattlease.commands`."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from wattlease.core.errors import WattleaseError


class Refusal(click.ClickException):
    """What we refuse on purpose: told in one line, exit code 2."""

    exit_code = 2


class Absent(click.Command):
    """A command whose package is not installed here; listed, and says so when it is called."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, help=f"Not available: {reason}.", add_help_option=False)
        self.reason = reason
        self.ignore_unknown_options = self.allow_extra_args = True

    def invoke(self, ctx: click.Context) -> Any:
        """Refuse."""
        raise Refusal(f"wattlease {self.name} is not available here: {self.reason}; install the extra that brings it")


class Commands(click.Group):
    """The commands of all installed packages, each imported only when it is named."""

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group="wattlease.commands")}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name, sorted."""
        return sorted(self._points)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        point = self._points.get(cmd_name)
        if point is None:
            return None
        try:
            command = point.load()
        except ImportError as error:
            return Absent(cmd_name, str(error))
        if not isinstance(command, click.Command):
            return Absent(cmd_name, f"{point.value} is no command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours is its text and exit code 2, never a traceback."""
        try:
            return super().invoke(ctx)
        except WattleaseError as error:
            raise Refusal(str(error)) from error


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="wattlease", prog_name="wattlease")
def main() -> None:
    """Keep an AI datacenter under its power limit by steering the jobs that draw the power."""
