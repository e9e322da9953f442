import pytest

from llm_edge_agent.dialects.provider_errors import MAX_MESSAGE_CHARACTERS, retry_after_s, safe_message

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({b"retry-after": b"2"}, 2.0),
        ({b"retry-after": b" 1.5 "}, 1.5),
        ({b"retry-after": b"-1"}, None),
        ({b"retry-after": b"soon"}, None),
        ({b"retry-after": b"99999999"}, 86400.0),
        ({b"retry-after-ms": b"250", b"retry-after": b"9"}, 0.25),
        ({b"retry-after-ms": b"x", b"retry-after": b"9"}, 9.0),
        ({b"retry-after-ms": b"999999999"}, 86400.0),
        ({b"retry-after": b"Tue, 14 Nov 2023 22:13:25 GMT"}, 5.0),
        ({b"retry-after": b"Tue, 14 Nov 2022 22:13:25 GMT"}, 0.0),
        ({b"retry-after": b"Tue, 14 Nov 2093 22:13:25 GMT"}, 86400.0),
        ({b"retry-after": b"Tue, 99 Nov 2093 22:13:25 GMT"}, None),
        ({b"retry-after": b"\xff"}, None),
    ],
)
def test_how_long_to_wait(headers: dict[bytes, bytes], expected: float | None) -> None:
    assert retry_after_s(headers, NOW) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words", "plain words"),
        ("Incorrect API key provided: sk-proj-abc***xyz.", "Incorrect API key provided: [redacted]."),
        ("key sk-ant-api03-AAAA_bbb-1 is bad", "key [redacted] is bad"),
        ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
        ("AIzaSyA1234567890abc leaked", "[redacted] leaked"),
        ("gsk_abcdef123", "[redacted]"),
        ("line\r\nbreak\x00\x1b[31m\u2028", "line break [31m "),
        ("the task-force", "the task-force"),
    ],
)
def test_what_may_be_shown(text: str, expected: str) -> None:
    assert safe_message(text) == expected


def test_messages_are_bounded() -> None:
    assert len(safe_message("x" * 10**6)) == MAX_MESSAGE_CHARACTERS
