from llm_edge_agent.core.resilience import UNHEALTHY_AFTER_FAILURES, Health


def test_consecutive_failures_make_unhealthy_and_one_success_heals() -> None:
    health = Health()
    seen = []
    for _ in range(UNHEALTHY_AFTER_FAILURES):
        seen.append(health.healthy)
        health.failed()
    seen.append(health.healthy)
    health.succeeded()
    seen.append(health.healthy)
    assert seen == [True] * UNHEALTHY_AFTER_FAILURES + [False, True]
