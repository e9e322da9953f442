import pytest

from llm_edge_agent.telemetry.exposition import OPENMETRICS, TEXT, Labels, negotiate, render_gauges


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, TEXT),
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("text/html", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPENMETRICS),
        ("application/openmetrics-text; version=2.0.0", TEXT),
        ("application/openmetrics-text; version=0.0.1", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=0.4,text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;q=many,text/plain", TEXT),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
            "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            OPENMETRICS,
        ),
    ],
)
def test_the_format_follows_the_accept_header(accept: str | None, expected: str) -> None:
    assert negotiate(accept) == expected


def test_gauges_are_named_explained_and_escaped() -> None:
    idle: Labels = (("state", 'a"b\\c\nd'),)
    text = render_gauges({"llm_edge_upstream_connections": {idle: 3}}, openmetrics=False)
    assert text.splitlines()[1:] == [
        "# TYPE llm_edge_upstream_connections gauge",
        'llm_edge_upstream_connections{state="a\\"b\\\\c\\nd"} 3',
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (2.5, "2.5"), (True, "1"), (float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf")],
)
def test_gauge_values(value: float, shown: str) -> None:
    assert render_gauges({"g": {(): value}}, openmetrics=True).splitlines()[-1] == f"g {shown}"


def test_what_ends_in_total_is_a_counter() -> None:
    lines = render_gauges({"llm_edge_worker_restarts_total": {(): 2}}, openmetrics=True).splitlines()
    assert lines[1:] == ["# TYPE llm_edge_worker_restarts counter", "llm_edge_worker_restarts_total 2"]
