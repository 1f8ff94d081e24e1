"""`wattlease doctor` on files with budgets, and devices that answer, lie or are away."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from wattlease.core.errors import BudgetError
from wattlease.facility.commands import doctor
from wattlease.facility.doctor import CHECKS, examine
from wattlease.facility.doctor_file import budgets_in
from wattlease.facility.findings import Finding

ROOT = Path(__file__).parents[3]


async def ran(path: Path, *options: str) -> Result:
    """The command as people run it, beside devices that are served by this test's loop."""
    return await asyncio.to_thread(CliRunner().invoke, doctor, [str(path), *options])


def written(folder: Path, *meters: str) -> Path:
    path = folder / "site.yaml"
    lines = "".join(f"    - {meter}\n" for meter in meters)
    path.write_text(f"kind: PowerBudget\nmetadata: {{name: hall}}\nspec:\n  limitWatts: 20000\n  meters:\n{lines}")
    return path


def sunspec_line(port: int, name: str, unit: int, more: str = "") -> str:
    reach = f"{{host: 127.0.0.1, port: {port}, unitId: {unit}}}"
    return f"{{name: {name}, kind: SunSpec, timeoutSeconds: 1, sunSpec: {reach}{more}}}"


async def test_all_meters_well_is_exit_code_0_and_a_table(tmp_path: Path, modbus: Any, sunspec: Any) -> None:
    async with modbus(sunspec(unit=1), sunspec(unit=2)) as port:
        result = await ran(written(tmp_path, sunspec_line(port, "feed", 1), sunspec_line(port, "check", 2)))
    assert result.exit_code == 0, result.output
    assert "hall/feed" in result.output
    assert "8.20 kW" in result.output


async def test_what_fails_is_exit_code_1_and_told_with_its_fix(tmp_path: Path, modbus: Any, sunspec: Any) -> None:
    lying, turned = sunspec(unit=2), sunspec(unit=3)
    lying.draw(60_000)
    turned.draw(-8200)
    meters = ("feed", 1), ("lying", 2), ("turned", 3), ("absent", 9)
    async with modbus(sunspec(unit=1), lying, turned) as port:
        path = written(tmp_path, *(sunspec_line(port, name, unit) for name, unit in meters))
        result = await ran(path, "--json")
    assert result.exit_code == 1
    told = json.loads(result.output)
    found = {one["name"]: one for one in told["findings"]}
    assert told["ok"] is False
    assert [name for name, one in found.items() if one["ok"]] == ["hall/feed"]
    assert "maxWatts" in found["hall/lying"]["fix"]
    assert "-8.20 kW" in found["hall/turned"]["read"]
    assert "unitId" in found["hall/absent"]["fix"]
    assert found["hall/feed"]["took_s"] >= 0.0


async def test_meters_of_one_feed_that_disagree_are_told(tmp_path: Path, modbus: Any, sunspec: Any) -> None:
    half = sunspec(unit=2)
    half.draw(4100)
    async with modbus(sunspec(unit=1), half) as port:
        result = await ran(written(tmp_path, sunspec_line(port, "a", 1), sunspec_line(port, "b", 2)), "--json")
        apart = await ran(
            written(tmp_path, sunspec_line(port, "a", 1, ", feed: a"), sunspec_line(port, "b", 2, ", feed: b")),
            "--json",
        )
    votes = [one for one in json.loads(result.output)["findings"] if one["kind"] == "vote"]
    assert result.exit_code == 1
    assert "the higher is taken" in votes[0]["verdict"]
    assert "feed" in votes[0]["fix"]
    assert apart.exit_code == 0, apart.output


async def test_a_value_that_is_old_is_told_though_it_was_read(tmp_path: Path) -> None:
    """A Prometheus that answers with a sample of three minutes ago."""

    async def answer(request: web.Request) -> web.Response:
        value = "1000.0" if request.query["query"].startswith("timestamp") else "8200"
        data = {"resultType": "vector", "result": [{"metric": {}, "value": [1180.0, value]}]}
        return web.json_response({"status": "success", "data": data})

    app = web.Application()
    app.router.add_get("/api/v1/query", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reach = f"{{url: 'http://127.0.0.1:{runner.addresses[0][1]}', query: site_watts}}"
    result = await ran(written(tmp_path, f"{{name: site, kind: Prometheus, prometheus: {reach}}}"), "--json")
    await runner.cleanup()
    [found] = json.loads(result.output)["findings"]
    assert result.exit_code == 1
    assert (found["verdict"], "staleSeconds" in found["fix"]) == ("its value is old", True)
    assert found["age_s"] == pytest.approx(180.0, abs=1.0)


@pytest.mark.parametrize("name", ["day/scenario.yaml", "phoenix/scenario.yaml", "nodes/controller.yaml"])
async def test_any_file_with_budgets_is_read(name: str) -> None:
    result = await ran(ROOT / "examples" / name)
    assert result.exit_code == 0, result.output


def test_a_file_without_budgets_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\n")
    with pytest.raises(BudgetError, match="budgets"):
        budgets_in(path)


async def test_other_modules_checks_are_run_beside(budget: Any) -> None:
    async def battery(_: object) -> tuple[Finding, ...]:
        return (Finding("hall/battery", "SunSpec", False, "is in local control", fix="turn its key to remote"),)

    found = await examine([budget()], (*CHECKS, battery))
    assert not found.is_well
    assert [one.name for one in found.findings] == ["hall/battery"]
