from llm_edge_agent.core.access import Principal
from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.gateway.exchange import Exchange
from llm_edge_agent.gateway.request_ids import RequestIds
from llm_edge_agent.telemetry import FinishedExchange


def test_an_exchange_ends_once() -> None:
    seen: list[FinishedExchange] = []
    exchange = Exchange("id", "chat", "POST", "/x", 0.0, Principal("t", "k"), (seen.append, seen.append))
    exchange.end(502, ErrorKind.UPSTREAM_ERROR)
    exchange.end(200)
    assert seen == [exchange, exchange]
    assert (exchange.status, exchange.error) == (502, ErrorKind.UPSTREAM_ERROR)
    assert exchange.duration_s > 0
    assert (exchange.tenant, exchange.key_id) == ("t", "k")


def test_a_renewed_exchange_shares_the_caller_and_nothing_else() -> None:
    seen: list[FinishedExchange] = []
    first = Exchange("id", "chat", "POST", "/x", 0.0, Principal("t", None), (seen.append,))
    first.warnings = ("w",)
    first.end(200)
    second = first.renewed("other", 5.0)
    assert (second.request_id, second.started_s, second.principal) == ("other", 5.0, first.principal)
    assert (second.warnings, second.ended) == ((), False)
    assert second.memo is not None
    assert first.renewed("third", 6.0).memo is second.memo
    second.end(200)
    assert seen == [first, second]


def test_who_was_chosen_is_told_without_the_name_of_its_header() -> None:
    exchange = Exchange("id", "chat", "POST", "/x", 0.0, Principal("t", None), ())
    assert exchange.chosen is None
    exchange.route_line = b"x-llm-edge-route: openai/gpt-5.5; group=smart; by=failover; try=2\r\n"
    assert exchange.chosen == "openai/gpt-5.5; group=smart; by=failover; try=2"


def test_ids_are_unique_and_plain() -> None:
    one, other = RequestIds(), RequestIds()
    made = [ids.next() for ids in (one, other) for _ in range(100)]
    assert len(set(made)) == 200
    assert all(made_id.isalnum() and len(made_id) == 20 for made_id in made)
