import os

from llm_edge_agent.telemetry.gauges import GaugeBook, Published, decode, encode


def broken() -> float:
    raise RuntimeError("no such pool")


def test_a_gauge_that_fails_loses_only_its_own_sample() -> None:
    book = GaugeBook()
    book.register("connections", {"state": "in_use"}, broken, "sum")
    book.register("connections", {"state": "idle"}, lambda: 3, "sum")
    assert book.values() == {"connections": {(("state", "idle"),): 3}}


def test_registering_again_replaces() -> None:
    book = GaugeBook()
    book.register("lag", {}, lambda: 1, "max")
    book.register("lag", {}, lambda: 2, "max")
    assert book.values() == {"lag": {(): 2}}


def test_a_group_is_asked_once_for_all_its_values() -> None:
    book = GaugeBook()
    book.register_group("active", lambda: {(("endpoint", "chat"),): 2, (("endpoint", "other"),): 0}, "sum")
    book.register_group("broken", lambda: {(): broken()}, "sum")
    assert book.values() == {"active": {(("endpoint", "chat"),): 2, (("endpoint", "other"),): 0}}
    others = [Published(1, {"active": [((("endpoint", "chat"),), 3)]})]
    assert book.merged(others)["active"] == {(("endpoint", "chat"),): 5, (("endpoint", "other"),): 0}


def test_values_of_workers_add_up_or_the_largest_counts() -> None:
    book = GaugeBook()
    book.register("connections", {}, lambda: 2, "sum")
    book.register("lag", {}, lambda: 0.5, "max")
    book.register("reloaded", {}, lambda: 1, "min")
    others = [
        Published(1, {"connections": [((), 3)], "lag": [((), 0.25)], "reloaded": [((), 0)]}),
        Published(2, {"connections": [((), 4)], "lag": [((), 0.75)], "theirs": [((("a", "b"),), 1)]}),
    ]
    assert book.merged(others) == {
        "connections": {(): 9},
        "lag": {(): 0.75},
        "reloaded": {(): 0},
        "theirs": {(("a", "b"),): 1},
    }


def test_what_a_worker_says_survives_the_way() -> None:
    said = Published(os.getpid(), {"g": [((("a", "b"),), 1), ((), 2.5)]}, {"providers": {"openai": False}})
    assert decode(encode(said)) == said
    assert decode(b"") is None
    assert decode(b"\xc1torn") is None
