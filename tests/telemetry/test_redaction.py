import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.telemetry.redaction import REDACTED, Redactor, concealer, visible, visible_json

KEY_BODY = "Zq3vT8mKp1LwXc5RdY7n"

KEYS = [
    f"sk-{KEY_BODY}",
    f"sk-proj-{KEY_BODY}_{KEY_BODY}",
    f"sk-ant-api03-{KEY_BODY}-AA",
    f"sk-or-v1-{KEY_BODY}",
    f"gsk_{KEY_BODY}",
    f"xai-{KEY_BODY}",
    f"pplx-{KEY_BODY}",
    f"hf_{KEY_BODY}",
    f"AIza{KEY_BODY}{KEY_BODY}",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "text", ["{}", "key={} was refused", "Bearer {}", '{{"api_key": "{}"}}', "x-api-key: {}\r\n", "({})"]
)
def test_what_looks_like_a_key_is_cut_out(key: str, text: str) -> None:
    cleaned = Redactor().clean(text.format(key))
    assert KEY_BODY not in cleaned
    assert REDACTED in cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Authorization: Bearer abc.def-123", f"Authorization: Bearer {REDACTED}"),
        ("authorization: Basic dXNlcjpwYXNz, next", f"authorization: Basic {REDACTED}, next"),
        ("http://user:secret@proxy.example:3128/", f"http://{REDACTED}@proxy.example:3128/"),
        ("GET /v1beta/models?key=abc123&alt=sse", f"GET /v1beta/models?key={REDACTED}&alt=sse"),
        ('{"x-api-key": "whatever"}', f'{{"x-api-key": "{REDACTED}"}}'),
    ],
)
def test_credentials_are_cut_out_of_what_carries_them(text: str, cleaned: str) -> None:
    assert Redactor().clean(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "claude-opus-5-5",
        "gpt-5-mini-2026-08-07",
        "disk-usage is task-force-sized",
        "a basic implementation of key-management-service",
        "meta-llama/llama-4-scout-17b-16e-instruct",
        "the key of provider openai was refused: HTTP 401",
        "https://api.openai.com/v1/chat/completions?alt=sse",
    ],
)
def test_ordinary_text_passes(text: str) -> None:
    assert Redactor(["ollama"]).clean(text) == text


def test_known_secrets_are_cut_out_wherever_they_stand_the_longest_first() -> None:
    redactor = Redactor(["hunter22hunter", "hunter22hunter-and-more", "(a+b)*c??", "test"])
    assert redactor.clean("xhunter22hunter-and-morex") == f"x{REDACTED}x"
    assert redactor.clean("hunter22hunter(a+b)*c??") == REDACTED * 2
    assert redactor.clean("a test of ordinary words") == "a test of ordinary words"


def test_a_concealer_takes_out_what_it_was_given_and_nothing_else() -> None:
    conceal = concealer(['secret/with "marks"', "short"])
    said = b'short sk-of-another-party \xff {"a":"secret/with \\"marks\\"","b":"secret\\/with \\"marks\\""}'
    assert conceal(said) == b'short sk-of-another-party \xff {"a":"[redacted]","b":"[redacted]"}'
    assert concealer(["short"])(said) == said


acting = st.sampled_from(
    [*map(chr, range(0x20)), "\x7f", *map(chr, range(0x80, 0xA0)), "\u2028", "\u202e", "\u2066", "\ufeff"]
)
texts = st.text(st.one_of(acting, st.characters(codec="utf-8")))


@given(st.text(st.one_of(acting, st.characters())))
def test_visible_text_is_one_line_without_anything_that_acts(text: str) -> None:
    shown = visible(text)
    assert shown.splitlines() in ([], [shown])
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in shown)
    assert not set(shown) & set("\u2028\u2029\u202a\u202e\u2066\u2069\ufeff")


@given(texts)
def test_visible_json_means_the_same_and_acts_on_nothing(text: str) -> None:
    line = visible_json(msgspec.json.encode({"model": text}))
    assert msgspec.json.decode(line) == {"model": text}
    assert visible(line.decode()) == line.decode()
