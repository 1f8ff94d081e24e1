import numpy as np
import pytest

from wattlease.core.actions import Downsize, Hold, Pause, Release, Restore, Resume
from wattlease.core.model import JobState
from wattlease.sim.plant import Plant
from wattlease.sim.scenario_work import JobSpec

QUIET = {"slowPercent": 0, "swingPercent": 0, "fastPercent": 0, "dipPercent": 0}


def state(plant: Plant, job: str) -> JobState:
    seen = plant.observe()
    return JobState(seen.jobs.state[seen.jobs.id.index(job)])


def test_a_waiting_job_starts_only_when_it_is_released(small, order, run) -> None:
    plant = Plant(small(), 1)
    run(plant, 10)
    assert state(plant, "b") == JobState.HELD
    plant.act(order(plant.observe(), Release("b")))
    run(plant, 2)
    assert state(plant, "b") == JobState.RUNNING


def test_a_release_can_be_taken_back_while_no_gpus_are_free(small, order, run) -> None:
    jobs = [*small().model_dump(by_alias=True, exclude_none=True)["jobs"]]
    jobs[1]["gpus"] = 12
    plant = Plant(small(jobs=jobs), 1)
    plant.act(order(plant.observe(), Release("b")))
    run(plant, 5)
    assert state(plant, "b") == JobState.RELEASED
    plant.act(order(plant.observe(), Hold("b")))
    assert state(plant, "b") == JobState.HELD


def test_a_pause_loses_the_work_since_the_checkpoint_and_idles_within_seconds(small, order, run) -> None:
    plant = Plant(small(noise=QUIET), 1)
    run(plant, 60)
    done_s = plant.work.of["done_s"][0]
    assert done_s > 55
    plant.act(order(plant.observe(), Pause("a")))
    run(plant, 15)
    assert state(plant, "a") == JobState.PAUSED
    assert plant.cards.draw_w == pytest.approx(plant.wiring.idle_w, rel=0.02)
    tally = plant.tally()
    assert tally.lost_gpu_h[0] * 3600 / 8 == pytest.approx(done_s)
    assert tally.work_gpu_h[0] == 0.0


def test_a_job_that_saves_on_a_signal_loses_nothing(small, order, run) -> None:
    jobs = [{**j, "checkpointOnSignal": True} for j in small().model_dump(by_alias=True, exclude_none=True)["jobs"]]
    plant = Plant(small(jobs=jobs), 1)
    run(plant, 60)
    assert plant.observe().jobs.checkpoint_age_s[0] == 0.0
    plant.act(order(plant.observe(), Pause("a")))
    assert plant.tally().lost_gpu_h[0] == 0.0


def test_a_resume_costs_the_restart(small, order, run) -> None:
    plant = Plant(small(noise=QUIET), 1)
    plant.act(order(plant.observe(), Pause("a")))
    run(plant, 10)
    plant.act(order(plant.observe(), Resume("a")))
    run(plant, 30)
    assert plant.work.of["done_s"][0] == pytest.approx(0.0, abs=0.5)
    run(plant, 20)
    assert plant.work.of["done_s"][0] == pytest.approx(20.0, abs=0.5)


def test_a_checkpoint_saves_what_was_done(small, run) -> None:
    plant = Plant(small(), 1)
    run(plant, 700)
    assert 0 < plant.work.of["saved_s"][0] <= plant.work.of["done_s"][0]
    age_s = plant.observe().jobs.checkpoint_age_s[0]
    assert age_s == plant.work.of["done_s"][0] - plant.work.of["saved_s"][0]


def test_a_smaller_batch_draws_and_does_less_at_once(small, order, run) -> None:
    plant = Plant(small(noise=QUIET), 1)
    before_w = run(plant, 10)[-1]
    plant.act(order(plant.observe(), Downsize("a", 0.5, "")))
    after_w = run(plant, 10)[-1]
    assert before_w - after_w == pytest.approx(8 * 350 * 0.2 * 1.1 * 1.14, rel=0.1)
    assert plant.work.of["pace_frac"][0] == pytest.approx(0.6, abs=0.01)
    plant.act(order(plant.observe(), Restore("a")))
    assert run(plant, 10)[-1] == pytest.approx(before_w, rel=0.01)


def test_a_swap_draws_for_both_models_until_the_small_one_serves(small, order, run) -> None:
    plant = Plant(small(noise=QUIET), 1)
    before_w = run(plant, 10)[-1]
    plant.act(order(plant.observe(), Downsize("a", 1.0, "tiny")))
    assert run(plant, 15)[-1] > before_w
    assert plant.observe().jobs.variant[0] == -1
    after_w = run(plant, 15)[-1]
    assert plant.observe().jobs.variant[0] == 0
    assert before_w - after_w == pytest.approx(8 * 350 * 0.6 * 1.1 * 1.14, rel=0.1)
    plant.act(order(plant.observe(), Restore("a")))
    assert run(plant, 30)[-1] == pytest.approx(before_w, rel=0.01)


def test_a_contract_is_broken_for_as_long_as_speed_is_too_low(small, run) -> None:
    plant = Plant(small(noise=QUIET), 1)
    run(plant, 30, cap_w=300.0)
    assert plant.tally().breach_s[0] == 0.0
    run(plant, 30, cap_w=150.0)
    assert plant.tally().breach_s[0] == pytest.approx(30.0, abs=2.0)


def test_jobs_keep_whole_nodes_where_they_can_and_give_them_back(small, order, run) -> None:
    plant = Plant(small(), 1)
    plant.act(order(plant.observe(), Release("b")))
    run(plant, 5)
    assert sorted(set(plant.site.gpus.node[plant.placement.job == 1].tolist())) == [2]
    run(plant, 400)
    assert (plant.placement.job != 1).all()
    assert plant.placement.free.sum() == 8


def test_a_job_that_is_submitted_later_joins_the_queue(small, order, run) -> None:
    plant = Plant(small(), 1)
    run(plant, 5)
    spec = JobSpec(name="a", cluster="c", gpus=4, profile="train", duration_seconds=60)
    assert plant.submit(spec) == "a-2"
    plant.act(order(plant.observe(), Release("a-2")))
    run(plant, 90)
    assert plant.tally().state[-1] == 4


def test_a_capped_service_has_longer_latency_and_keeps_its_throughput_until_it_is_full(small, run) -> None:
    serving = {"trace": "constant", "peakPercent": 70, "serviceSeconds": 1, "batch": 4}
    job = {"name": "s", "cluster": "c", "gpus": 8, "profile": "chat", "running": True, "serving": serving}
    latency, served = {}, {}
    for cap_w in (400.0, 260.0, 140.0):
        plant = Plant(small(jobs=[job], noise=QUIET), 1)
        run(plant, 120, cap_w=cap_w)
        tally = plant.tally()
        latency[cap_w] = float(tally.latency_p99_s[0])
        served[cap_w] = float(tally.work_gpu_h[0]) * 3600 / 8 / 120
    assert latency[400.0] < latency[260.0] < latency[140.0]
    assert served[400.0] == pytest.approx(served[260.0], abs=0.02)
    assert served[140.0] < 0.7
    assert np.isfinite(latency[140.0])


def test_a_service_draws_less_when_fewer_requests_come(small, run) -> None:
    draws = []
    for peak in (20, 90):
        serving = {"trace": "constant", "peakPercent": peak}
        job = {"name": "s", "cluster": "c", "gpus": 8, "profile": "chat", "running": True, "serving": serving}
        draws.append(run(Plant(small(jobs=[job], noise=QUIET), 1), 30).mean())
    assert draws[0] < 0.85 * draws[1]
