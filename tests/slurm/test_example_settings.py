"""The example of a daemon's file: what it says can be held, and is what docs/slurm.md tells of."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from wattlease.runtime.files import load
from wattlease.runtime.site import site_of
from wattlease_slurm.commands import slurm
from wattlease_slurm.racks import racks
from wattlease_slurm.settings import SlurmSettings
from wattlease_slurm.verdicts import Verdicts

EXAMPLE = Path(__file__).parents[2] / "examples" / "slurm" / "slurm.yaml"


@pytest.fixture(scope="module")
def settings() -> SlurmSettings:
    return load(EXAMPLE, SlurmSettings)


def test_the_fallbacks_of_the_example_fit_into_what_it_guarantees(settings: SlurmSettings) -> None:
    site = site_of(settings.name, settings.groups, settings.budgets, settings.profiles)
    root = settings.budgets[0].spec
    assert root.guaranteed_watts is not None
    assert float(site.nodes.fallback_w.sum()) <= root.guaranteed_watts < root.limit_watts
    assert root.limit_watts < float(site.nodes.nameplate_w.sum())


def test_the_example_has_racks_to_guard(settings: SlurmSettings) -> None:
    tree = racks(settings)
    assert tree is not None
    assert [(part.name, part.count_w) for part in tree.parts] == [("rack-1", 9736), ("rack-2", 9736)]
    assert Verdicts(settings)


def test_the_command_prints_the_examples_racks_for_slurm() -> None:
    printed = CliRunner().invoke(slurm, ["install", "--resources", str(EXAMPLE)])
    assert printed.exit_code == 0, printed.output
    (resource,) = yaml.safe_load(printed.output)
    assert resource["resource"] == "rackpower"
    assert [layer["count"] for layer in resource["layers"]] == [-1, 9736, 9736]
    beside = CliRunner().invoke(slurm, ["install", "--check", "--resources", str(EXAMPLE)])
    assert beside.exit_code == 2
    assert "leave --check and --to away" in beside.output


def test_a_daemon_takes_a_share_as_any_controller_does(settings: SlurmSettings) -> None:
    facility = {"cluster": "slurm", "grantors": ["https://facility:8943"]}
    tls = {"authority": "ca.crt", "certificate": "slurm.crt", "key": "slurm.key"}
    written = settings.model_dump(mode="json", by_alias=True, exclude_unset=True) | {"share": {**facility, **tls}}
    assert SlurmSettings.model_validate(written).share is not None
