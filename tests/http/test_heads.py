import pytest

from llm_edge_agent.http.framing import HEAD, FramingError
from llm_edge_agent.http.heads import HeadReader, ParsedHead


def read(reader: HeadReader, head: bytes) -> ParsedHead:
    match = HEAD.match(head)
    assert match is not None
    return reader.read(match, head)


def test_a_head_becomes_method_target_fields_length_and_persistence() -> None:
    head = b"POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\r\n"
    assert read(HeadReader(), head) == ParsedHead(
        "POST", "/v1/x", "a=b", {b"host": b"h", b"x-a": b"1, 2", b"content-length": b"5"}, False, 5, True
    )
    assert not read(HeadReader(), b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").keep
    assert not read(HeadReader(), b"CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n").keep
    assert read(HeadReader(), b"BREW / HTTP/1.0\r\nhost: h\r\n\r\n").method == "BREW"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET /#f HTTP/1.1\r\nhost: h\r\n\r\n",
    ],
)
def test_a_head_that_does_not_hold_is_neither_read_nor_remembered(head: bytes) -> None:
    reader = HeadReader()
    with pytest.raises(FramingError):
        read(reader, head)
    assert reader.seen == {}


def test_heads_are_remembered_byte_for_byte_within_bounds() -> None:
    reader = HeadReader()
    heads = [b"GET / HTTP/1.1\r\nhost: h\r\nx-number: %d\r\n\r\n" % number for number in range(2000)]
    for head in heads:
        parsed = read(reader, head)
        assert reader.seen[head] is parsed
        assert len(reader.seen) <= 512
    long = b"GET / HTTP/1.1\r\nhost: h\r\nx: %b\r\n\r\n" % (b"y" * 5000)
    assert read(reader, long).fields[b"x"] == b"y" * 5000
    assert long not in reader.seen


def test_targets_are_remembered_where_that_is_safe_and_cheap() -> None:
    reader = HeadReader()
    assert reader.locate("GET", b"/a?b") == ("/a", "b")
    assert reader.locate("CONNECT", b"/c") == ("/c", "")
    assert reader.locate("OPTIONS", b"*") == ("*", "")
    assert reader.locate("GET", b"http://a/d") == ("/d", "")
    assert reader.locate("GET", b"/" + b"e" * 500)[0] == "/" + "e" * 500
    with pytest.raises(FramingError):
        reader.locate("GET", b"/f#g")
    assert reader.targets == {b"/a?b": ("/a", "b")}
    for index in range(10_000):
        reader.locate("GET", b"/%d" % index)
    assert 0 < len(reader.targets) <= 256
    assert all(path == target.decode() for target, (path, _) in reader.targets.items())
