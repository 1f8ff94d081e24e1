"""A slurmctld for the tests of the submit script."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).with_name("lua")))  # where `lua_slurmctld` lies

if TYPE_CHECKING:
    from lua_slurmctld import Slurmctld


@pytest.fixture(params=["lua51", "lua52", "lua53", "lua54"])
def slurmctld(request: pytest.FixtureRequest, tmp_path: Path) -> Slurmctld:
    """One with a good verdict, in each Lua that Slurm takes."""
    from lua_slurmctld import VERDICT, Slurmctld

    return Slurmctld(tmp_path, request.param, VERDICT)


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Slurmctld]:
    """Start one with this verdict, or what else lies in its place, with this slurm.conf and this script of the site."""
    from lua_slurmctld import VERDICT, Slurmctld

    def started(verdict: Any = VERDICT, conf: str = "", site: str | None = None) -> Slurmctld:
        there = Slurmctld(tmp_path, "lua54", verdict)
        (there.folder / "etc/slurm.conf").write_text(conf)
        if site is not None:
            (there.folder / "etc/job_submit_site.lua").write_text(site)
        there.start()
        return there

    return started


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Slurmctld:
    """One for a module's tests, with the oldest Lua."""
    from lua_slurmctld import VERDICT, Slurmctld

    return Slurmctld(tmp_path_factory.mktemp("slurm"), "lua51", VERDICT)
