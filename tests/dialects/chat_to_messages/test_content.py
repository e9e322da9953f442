"""Content parts as blocks: what each becomes, what is refused, and where cache markers go."""

import base64
import json
from typing import Any

import pytest

from tests.dialects.chat_to_messages import models
from tests.dialects.chat_to_messages.models import function, out, refused, translate

Json = dict[str, Any]


def user(*parts: Any) -> Json:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def blocks(*parts: Any, **options: Any) -> list[Json]:
    found: list[Json] = out(user(*parts), **options)["messages"][0]["content"]
    return found


def image(url: str) -> Json:
    return {"type": "image_url", "image_url": {"url": url}}


def file(**members: Any) -> Json:
    return {"type": "file", "file": members}


def text(value: str = "x", **members: Any) -> Json:
    return {"type": "text", "text": value} | members


def test_white_space_alone_is_left_out_with_a_warning() -> None:
    result = translate(user(text("a"), text(" \n"), text("")))
    assert json.loads(result.body)["messages"][0]["content"] == [text("a")]
    assert result.warnings == ("changed:messages",)


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("HTTPS://example.com/a.png", {"type": "url", "url": "HTTPS://example.com/a.png"}),
        ("http://example.com/a.png", {"type": "url", "url": "http://example.com/a.png"}),
        ("data:image/gif;base64,AA==", {"type": "base64", "media_type": "image/gif", "data": "AA=="}),
        ("data:image/webp;name=x;base64,AA==", {"type": "base64", "media_type": "image/webp", "data": "AA=="}),
    ],
)
def test_images(url: str, source: Json) -> None:
    expected = [{"type": "image", "source": source}]
    assert blocks(image(url)) == expected
    assert blocks({"type": "image_url", "image_url": url}) == expected


def test_text_file_is_decoded() -> None:
    data = "data:text/plain;charset=utf-8;base64," + base64.b64encode("Ä".encode()).decode()
    (block,) = blocks(file(file_data=data))
    assert block["source"] == {"type": "text", "media_type": "text/plain", "data": "Ä"}
    assert "title" not in block


@pytest.mark.parametrize(
    ("part", "code", "place"),
    [
        (1, "invalid_type", ""),
        ({}, "missing_required_parameter", ".type"),
        ({"type": "video"}, "invalid_value", ".type"),
        ({"type": "refusal", "refusal": "x"}, "invalid_value", ".type"),
        ({"type": "text"}, "missing_required_parameter", ".text"),
        ({"type": "text", "text": 1}, "invalid_type", ".text"),
        ({"type": "image_url"}, "missing_required_parameter", ".image_url"),
        ({"type": "image_url", "image_url": {}}, "missing_required_parameter", ".image_url.url"),
        (image("ftp://example.com/a.png"), "invalid_image_format", ".image_url.url"),
        (image("data:image/png,abc"), "invalid_image_format", ".image_url.url"),
        ({"type": "file"}, "missing_required_parameter", ".file"),
        (file(), "missing_required_parameter", ".file.file_id"),
        (file(file_data=1), "invalid_type", ".file.file_data"),
        (file(file_data=""), "invalid_value", ".file.file_data"),
        (file(file_data="data:text/plain,abc"), "invalid_value", ".file.file_data"),
        (file(file_data="data:text/plain;base64,!!"), "invalid_value", ".file.file_data"),
        (file(file_data="data:text/plain;base64,/w=="), "invalid_value", ".file.file_data"),
        (file(file_data="data:text/plain;base64,IA=="), "invalid_value", ".file.file_data"),
        (file(file_data="data:text/csv;base64,YQ=="), "unsupported_content", ".file.file_data"),
        (text(cache_control=1), "invalid_type", ".cache_control"),
        (text(prompt_cache_breakpoint=1), "invalid_type", ".prompt_cache_breakpoint"),
        (text(prompt_cache_breakpoint={"ttl": 1}), "invalid_type", ".prompt_cache_breakpoint.ttl"),
    ],
)
def test_refused(part: Any, code: str, place: str) -> None:
    error = refused(user(part))
    assert (error.code, error.param) == (code, f"messages[0].content[0]{place}")


def test_content_of_a_wrong_type() -> None:
    assert refused({"messages": [{"role": "user", "content": 1}]}).param == "messages[0].content"


def test_models_without_eyes() -> None:
    assert refused(user(image("https://example.com/a.png")), name=models.NO_TOOLS).code == "unsupported_content"
    error = refused(user(file(file_data="data:application/pdf;base64,JVBE")), name="claude-3-haiku")
    assert (error.code, error.param) == ("unsupported_content", "messages[0].content[0].file")


EPHEMERAL = {"type": "ephemeral"}


def test_breakpoints_inherit_the_lifetime_of_the_request() -> None:
    request = user(text(prompt_cache_breakpoint={"mode": "explicit"}))
    assert blocks(*request["messages"][0]["content"]) == [text(cache_control=EPHEMERAL)]
    result = translate(request | {"prompt_cache_options": {"mode": "explicit", "ttl": "30m"}})
    assert json.loads(result.body)["messages"][0]["content"] == [text(cache_control=EPHEMERAL | {"ttl": "1h"})]
    assert result.warnings == ("changed:prompt_cache_breakpoint",)
    assert refused({"prompt_cache_options": {"ttl": 1}}).param == "prompt_cache_options.ttl"


def test_a_marker_on_an_empty_part_goes_with_it() -> None:
    assert blocks(text("", cache_control=EPHEMERAL), text("a")) == [text("a")]


def test_a_marker_on_a_message_stands_on_its_last_block_unless_that_has_one() -> None:
    message = {"role": "user", "content": [text("a"), text("b")], "cache_control": EPHEMERAL}
    assert out({"messages": [message]})["messages"][0]["content"] == [text("a"), text("b", cache_control=EPHEMERAL)]
    own = EPHEMERAL | {"ttl": "1h"}
    message["content"] = [text("a", cache_control=own)]
    assert out({"messages": [message]})["messages"][0]["content"] == [text("a", cache_control=own)]


def marked(body: Json) -> list[str]:
    """Where the cache markers stand."""
    places = [f"tool {tool['name']}" for tool in body["tools"] if "cache_control" in tool]
    for message in body["messages"]:
        for block in message["content"]:
            inner = block.get("content")
            places += [each["text"] for each in inner if "cache_control" in each] if isinstance(inner, list) else []
            places += [block["type"]] if "cache_control" in block else []
    return places


def test_the_last_four_markers_stay_counting_inside_results_and_the_top() -> None:
    request: Json = {
        "tools": [function() | {"cache_control": EPHEMERAL}],
        "messages": [
            {"role": "user", "content": [text("q", cache_control=EPHEMERAL)]},
            {"role": "assistant", "tool_calls": [models.call("c1")], "cache_control": EPHEMERAL},
            {
                "role": "tool",
                "tool_call_id": "c1",
                "content": [text("inner", cache_control=EPHEMERAL)],
                "cache_control": EPHEMERAL,
            },
        ],
    }
    result = translate(request)
    assert marked(json.loads(result.body)) == ["text", "tool_use", "inner", "tool_result"]
    assert result.warnings == ("dropped:cache_control",)
    assert marked(out(request | {"cache_control": EPHEMERAL})) == ["tool_use", "inner", "tool_result"]
    assert refused(request, strict=True).param == "cache_control"
