from pathlib import Path

import numpy as np
import pytest

from wattlease.core.errors import BudgetError
from wattlease.sim import traces

pytestmark = pytest.mark.data


def test_philly_has_its_jobs_and_its_busiest_week(data: Path) -> None:
    jobs = traces.philly(data)
    assert len(jobs.gpus) == 82_247
    week = jobs.between(42 * 86_400, 42 * 86_400, 49 * 86_400)
    assert len(week.gpus) == 14_724
    assert (np.diff(week.submit_s) >= 0).all()


def test_the_phoenix_trace_falls_by_a_third_in_its_event(data: Path) -> None:
    trace = traces.phoenix_power(data)
    assert trace.power_w[:90].mean() == pytest.approx(93_340, rel=0.002)
    assert trace.power_w[110:290].mean() / trace.power_w[:90].mean() == pytest.approx(0.684, abs=0.005)


def test_request_rates_of_azure_and_servegen_are_positive(data: Path) -> None:
    azure, servegen = traces.azure_rates(data), traces.servegen_rates(data)
    assert 340 <= len(azure.per_s) <= 362
    assert 1.0 < azure.per_s.mean() < 20.0
    assert len(servegen.per_s) == 2016
    assert servegen.per_s.max() > 0


def test_helios_counts_its_gpus(data: Path) -> None:
    seen = traces.helios(data)
    assert len(seen.t_s) == 31 * 1440
    assert (seen.running <= seen.gpus).all()


@pytest.mark.parametrize("zone", ["california", "texas"])
def test_prices_and_carbon_have_a_year_of_hours(data: Path, zone: str) -> None:
    grid = traces.grid_hours(data, zone)
    assert len(grid.at_s) >= 8760
    assert 0.0 < grid.energy_per_kwh.mean() < 0.2
    assert 50 < grid.carbon_g_per_kwh.mean() < 600


def test_a_missing_trace_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"philly/philly\.csv is missing"):
        traces.philly(tmp_path)
    with pytest.raises(BudgetError, match="dataFolder"):
        traces.data_folder("no-such-folder")
