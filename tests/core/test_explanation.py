from llm_edge_agent.core import needs
from llm_edge_agent.core.explanation import explain
from llm_edge_agent.core.needs import Needs
from llm_edge_agent.core.plan import Group, Plan
from tests.core.routing_cases import LIMITED, answer, deployment, fail

WANTED = Needs(features=needs.VISION | needs.STREAMING, prompt_tokens=1000)


def test_each_candidate_says_what_speaks_for_and_against_it() -> None:
    blind = deployment("blind", vision=False)
    open_, parked, slow, quick = (deployment(name) for name in ("open", "parked", "slow", "quick"))
    quick.prices = None
    fail(open_, 0.0, 5)
    fail(parked, 0.0, 1, LIMITED)
    answer(slow, 0.0, 3.0)
    answer(quick, 0.0, 1.0)
    group = Group("g", [blind, open_, parked, slow, quick], strategy="latency", configured=True)
    found = explain(group, WANTED, stream=True, now_s=10.0, chance=0.5)
    assert found.features == ("vision", "streaming")
    shown = {each.deployment.upstream_model: each for each in found.candidates}
    assert [shown[name].place for name in ("blind", "open", "parked", "slow", "quick")] == [None, None, 3, 2, 1]
    assert (shown["blind"].unable, shown["quick"].unable) == ("vision", None)
    assert (shown["open"].held, shown["open"].free_in_s) == ("circuit_open", 20.0)
    assert (shown["parked"].held, shown["parked"].free_in_s) == ("parked", 10.0)
    assert (shown["quick"].score or 0) < (shown["slow"].score or 0)
    assert (shown["slow"].estimated_picodollars, shown["quick"].estimated_picodollars) == (2000.0, None)


def test_it_leaves_no_trace() -> None:
    group = Group("g", [deployment("a"), deployment("b")], strategy="round_robin")
    for _ in range(3):
        found = explain(group, WANTED, stream=False, now_s=0.0, chance=0.5)
        assert [each.place for each in found.candidates] == [1, 2]
        assert {each.score for each in found.candidates} == {None}
    chosen = Plan(group, WANTED, stream=False).next(0.0, 0.5)
    assert chosen is group.deployments[0]
