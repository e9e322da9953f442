"""A head is plain or left to the parser; where it is plain, the parser would have said the same."""

import httptools
import pytest

from llm_edge_agent.http.plain_heads import PlainHead, WantedFields, fields, plain_head

PLAIN = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
    b"HTTP/1.1 200 \r\nContent-Length:5\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nDate: today\r\nX-A: 1 \r\nx-a:\t2\r\nCONTENT-LENGTH: 5\r\nEmpty:\r\n\r\n",
    b"HTTP/1.1 529 x\r\nconnection: keep-alive\r\ncontent-length: 0\r\nx-ratelimit-limit: 7\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nvia: 1.1 content-length: 9\r\nx-content-length: 9\r\ncontent-length: 3\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: caf\xe9\r\ncontent-length: 3\r\n\r\n",
]


class Parsed:
    def __init__(self, head: bytes) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.keep_alive = False
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(head)

    def on_headers_complete(self) -> None:
        self.keep_alive = self.parser.should_keep_alive()

    def on_header(self, name: bytes, value: bytes) -> None:
        name, value = name.lower(), value.rstrip(b" \t")
        self.headers[name] = self.headers[name] + b", " + value if name in self.headers else value


@pytest.mark.parametrize("head", PLAIN)
def test_a_plain_head_says_what_the_parser_says(head: bytes) -> None:
    plain = plain_head(head + b"body", 1000)
    parsed = Parsed(head)
    assert plain == PlainHead(parsed.parser.get_status_code(), int(parsed.headers[b"content-length"]), head)
    assert fields(head) == parsed.headers
    assert parsed.keep_alive


WANTED = WantedFields("date x-* request-id empty")


@pytest.mark.parametrize(
    "head",
    [
        *PLAIN,
        b"HTTP/1.1 200 OK\r\nx-b: 1\r\nx-request-id: A\r\nrequest-id: \tB, c\r\ncontent-length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-B: 1\r\nRequest-Id:\r\nRequest-Ids: no\r\nx:no\r\ncontent-length: 3\r\n\r\n",
        b"HTTP/1.1 200 date: no\r\nvia: x-a: no\r\nxx-a: no\r\ncontent-length: 3\r\n\r\n",
    ],
)
def test_some_fields_are_those_of_all_that_are_wanted(head: bytes) -> None:
    everything = fields(head)
    expected = {
        name: value
        for name, value in everything.items()
        if name in (b"date", b"request-id", b"empty") or name.startswith(b"x-")
    }
    assert list(WANTED.of_plain_head(head).items()) == list(expected.items())
    assert WANTED.of_fields(everything) == expected


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 5\n\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: " + b"1" * 19 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx : a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: a\ncontent-length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: " + b"y" * 1000 + b"\r\n\r\n",
    ],
)
def test_every_other_head_is_left_to_the_parser(head: bytes) -> None:
    assert plain_head(head, 1000) is None
