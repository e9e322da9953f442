from math import isclose

from llm_edge_agent.core.quotas import KeyPool, Quota


def test_a_pool_starts_with_every_key_usable() -> None:
    assert KeyPool(3).set_aside_until_s == [0.0, 0.0, 0.0]


def test_requests_per_minute() -> None:
    quota = Quota(rpm=60)
    for _ in range(59):
        quota.begin(0.0, 1000)
        assert quota.free_at_s == 0.0
    quota.begin(0.0, 1000)
    assert isclose(quota.free_at_s, 1.0)
    quota.ended(30.0, 1000)
    assert quota.free_at_s == 0.0


def test_tokens_per_minute_are_taken_by_estimate_and_by_bill() -> None:
    quota = Quota(tpm=600)
    quota.begin(0.0, 100)
    assert quota.free_at_s == 0.0
    quota.ended(0.0, 599)
    assert isclose(quota.free_at_s, 10.0)
    quota.begin(20.0, 0)
    assert quota.free_at_s == 0.0


def test_the_longer_of_two_waits_counts() -> None:
    quota = Quota(rpm=60, tpm=60)
    for _ in range(60):
        quota.begin(0.0, 2)
    assert isclose(quota.free_at_s, 61.0)
