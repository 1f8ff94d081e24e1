import numpy as np
import pytest

from wattlease.sim.cards import own_noise
from wattlease.sim.plant import Plant


@pytest.mark.parametrize("seed", [1, 4, 11])
def test_one_minute_means_waver_at_least_as_the_phoenix_trace_before_its_event(example, run, seed: int) -> None:
    plant = Plant(example("phoenix").model_copy(update={"tick_seconds": 5.0, "step_seconds": 1.0}), seed)
    minutes_w = run(plant, 90 * 60).reshape(90, -1).mean(axis=1)
    fall = 1 - np.sort(minutes_w) / np.median(minutes_w)
    assert minutes_w.std() / minutes_w.mean() >= 0.016
    assert fall[0] > 0.09  # the trace has one dip of 12 %, two of 5 %
    assert fall[1] > 0.04
    calm = minutes_w[minutes_w > 0.97 * np.median(minutes_w)]
    assert 0.003 < calm.std() / calm.mean() < 0.012
    assert minutes_w.mean() == pytest.approx(93_340, rel=0.01)


def test_cards_waver_by_five_to_seven_percent_at_a_tenth_of_a_second() -> None:
    noise = own_noise(np.random.default_rng(1), 64, 0.1, 0.06)
    assert 0.05 < noise.std() < 0.07
    assert 0.19 < noise[:600].max() < 0.32
    follows = np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]
    assert follows == pytest.approx(0.55, abs=0.05)


def test_a_longer_step_averages_a_card_s_own_noise() -> None:
    fast, slow = (own_noise(np.random.default_rng(1), 64, step_s, 0.06).std() for step_s in (0.1, 1.0))
    assert 0.4 < slow / fast < 0.65  # 0.45-0.55 in the H100 traces


@pytest.mark.data
def test_own_noise_follows_the_h100_traces(data) -> None:
    path = data / "openg2g-h100" / "traces" / "Llama-3.1-8B_num_gpus_1_max_num_seqs_64.csv"
    watts = np.genfromtxt(path, delimiter=",", skip_header=1)[50:-50, 1]
    spread = watts.std() / watts.mean()
    follows = np.corrcoef(watts[1:], watts[:-1])[0, 1]
    assert 0.05 < spread < 0.07
    assert 0.35 < follows < 0.65
