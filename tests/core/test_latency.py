from math import exp, isclose

from llm_edge_agent.core.latency import FADE_S, FADE_TURNS, PeakEwma


def test_a_peak_counts_at_once_and_passes_slowly() -> None:
    latency = PeakEwma()
    latency.sample(1.0, 0.0)
    latency.sample(8.0, 1.0)
    assert latency.value_s == 8.0
    latency.sample(1.0, 2.0)
    assert 7.0 < latency.value_s < 8.0
    for second in range(3, 40):
        latency.sample(1.0, float(second))
    assert latency.value_s < 1.3


def test_noise_is_no_peak() -> None:
    latency = PeakEwma()
    latency.sample(1.0, 0.0)
    latency.sample(2.0, 0.1)
    assert 1.0 < latency.value_s < 1.2


def test_samples_in_one_instant_still_count() -> None:
    latency = PeakEwma()
    latency.sample(4.0, 0.0)
    for _ in range(100):
        latency.sample(1.0, 0.0)
    assert latency.value_s < 1.1


def test_an_estimate_nobody_uses_fades_by_time_and_by_turns_whichever_is_less() -> None:
    latency = PeakEwma()
    latency.sample(1.0, 0.0)
    assert latency.faded(FADE_S, 0) == 1.0
    assert latency.faded(0.0, FADE_TURNS) == 1.0
    assert isclose(latency.faded(FADE_S, 10 * FADE_TURNS), exp(-1))
    assert isclose(latency.faded(10 * FADE_S, FADE_TURNS), exp(-1))
    assert latency.value_s == 1.0
