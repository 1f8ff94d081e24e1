"""What of slurmctld a submit script meets, in a real Lua interpreter."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from wattlease_slurm.verdict import Verdict, draw_key

pytest.importorskip("lupa", reason="the submit script runs in lupa's Lua")
SCRIPT = Path(__file__).parents[3] / "slurm_plugin/lua"
TABLE = Path(__file__).with_name("slurm_table.lua")
VERSIONS = ("lua51", "lua52", "lua53", "lua54")
NOW_S = 1_760_000_000
NO_VAL, NO_VAL16 = 2**32 - 2, 2**16 - 2

VERDICT = Verdict(
    written_s=NOW_S,
    total_w=100_000,
    rated_w={"h100": 700.0, "a100": 400.0, "*": 700.0},
    draw_w={draw_key("ada", "train-7", "h100"): 500.0, draw_key("ada", "*", "h100"): 600.0, "a100": 300.0},
    watts_per_cpu=5.0,
    fractions={"1g.10gb": 0.125, "shard": 0.25},
    node_gpus={"gpu": 8, "cpu": 0},
    types={"gpu": "h100", "*": "h100"},
    operators=(0, 64030),
    qos={"urgent": 9.0},
    debts={"bob": 50.0},
)
PARTITIONS = {
    "gpu": {"flag_default": 1, "total_cpus": 256, "total_nodes": 4, "max_share": 1},
    "cpu": {"flag_default": 0, "total_cpus": 640, "total_nodes": 10, "max_share": 1},
    "whole": {"flag_default": 0, "total_cpus": 256, "total_nodes": 4, "max_share": 0},
}


class Slurmctld:
    """What of slurmctld a submit script meets."""

    def __init__(self, folder: Path, version: str, verdict: Verdict | str | None) -> None:
        self.folder, self.verdict = folder, folder / "verdict"
        shutil.copytree(SCRIPT, folder / "etc")
        reader = folder / "etc/wattlease/verdict.lua"
        text = reader.read_text(encoding="utf-8")
        assert '"/run/wattlease/verdict"' in text
        reader.write_text(text.replace('"/run/wattlease/verdict"', f'"{self.verdict}"'), encoding="utf-8")
        self.say(verdict)
        self.version = version
        self.start()

    def start(self) -> None:
        """Load the script as at the start of slurmctld."""
        self.lua = import_module(f"lupa.{self.version}").LuaRuntime()
        self.at(NOW_S)
        self.table = self.lua.execute(TABLE.read_text(encoding="utf-8"))
        script = self.lua.eval("function(path) return assert(loadfile(path))() end")
        assert script(str(self.folder / "etc/job_submit.lua")) == 0

    def at(self, now_s: float) -> None:
        """Let it be this time."""
        self.lua.execute(f"os.time = function() return {now_s} end")

    def say(self, verdict: Verdict | str | None) -> None:
        """Leave this in the verdict's file."""
        if verdict is None:
            self.verdict.unlink(missing_ok=True)
        elif isinstance(verdict, str):
            self.verdict.write_text(verdict, encoding="utf-8")
        else:
            verdict.write(self.verdict)

    def submit(self, **job: Any) -> Any:
        """The job as the script leaves it; raises where Slurm would refuse it."""
        described = self.table.described(self.lua.table_from({"user_name": "ada", "user_id": 1000, **job}))
        partitions = self.table.partition_list(self._partitions())
        rc = self.lua.globals().slurm_job_submit(described, partitions, job.get("user_id", 1000))
        if rc != 0:
            raise RefusedError(rc)
        return described

    def modify(self, record: dict[str, Any], uid: int = 1000, **change: Any) -> Any:
        """The change as the script leaves it."""
        described = self.table.described(self.lua.table_from(change))
        recorded = self.lua.table_from({"job_state": 0, "user_id": 1000, "user_name": "ada", **record})
        partitions = self.table.partition_list(self._partitions())
        rc = self.lua.globals().slurm_job_modify(described, recorded, partitions, uid)
        if rc != 0:
            raise RefusedError(rc)
        return described

    def power(self, **job: Any) -> int:
        """Watts that the job asks for."""
        words = (self.submit(**job).licenses or "").split(",")
        return sum(int(word.partition(":")[2]) for word in words if word.startswith("power:"))

    @property
    def told(self) -> list[str]:
        """What users were told."""
        return [str(line) for line in self.table.told.values()]

    @property
    def logged(self) -> list[str]:
        """What stands in slurmctld's log."""
        return [str(line) for line in self.table.logged.values()]

    def _partitions(self) -> Any:
        return self.lua.table_from({name: self.lua.table_from(fields) for name, fields in PARTITIONS.items()})


class RefusedError(Exception):
    """The script refused the job."""
