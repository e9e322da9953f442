import msgspec
import pytest

from llm_edge_agent.workloads.records import LogError, LoggedRequest, LoggedUsage, read_log, write_line


def test_what_was_written_is_read() -> None:
    record = LoggedRequest(
        request=msgspec.Raw(b'{"model":"m","messages":[]}'),
        time=1.5,
        tenant="acme",
        usage=LoggedUsage(10, 2),
        cost_usd=0.25,
    )
    (found,) = read_log([write_line(record), b"  \n"])
    assert bytes(found.request) == bytes(record.request)
    assert (found.time, found.tenant, found.usage, found.cost_usd) == (1.5, "acme", LoggedUsage(10, 2), 0.25)


def test_all_but_the_request_may_be_missing_and_more_may_stand_there() -> None:
    (found,) = read_log([b'{"request": {}, "status": 200}'])
    assert (found.time, found.tenant, found.usage, found.cost_usd) == (None, "default", None, None)


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"time": 1}', b'{"request": {}, "time": "now"}', b"\xff"])
def test_the_line_that_is_no_record_is_named_and_not_quoted(line: bytes) -> None:
    with pytest.raises(LogError, match=r"^line 2 is no record of a request$"):
        list(read_log([b'{"request": {}}', line]))
