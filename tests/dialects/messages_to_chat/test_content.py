"""Blocks that are refused, each naming its place."""

from typing import Any

import msgspec
import pytest

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.messages_to_chat.content import PartReader
from tests.dialects.messages_to_chat import models
from tests.dialects.messages_to_chat.models import out, refused, user

Json = dict[str, Any]
PLACE = "messages.0.content.0"


def image(**source: Any) -> Json:
    return {"type": "image", "source": source}


def document(**source: Any) -> Json:
    return {"type": "document", "source": source}


@pytest.mark.parametrize(
    ("block", "param", "code"),
    [
        ({}, "type", "missing_required_parameter"),
        ({"type": "container_upload"}, "type", "unsupported_content"),
        ({"type": "text"}, "text", "missing_required_parameter"),
        ({"type": "image"}, "source", "missing_required_parameter"),
        (image(), "source.type", "missing_required_parameter"),
        (image(type="url"), "source.url", "missing_required_parameter"),
        (image(type="base64", media_type="image/tiff", data=""), "source.media_type", "invalid_image_format"),
        (document(type="base64", media_type="text/csv", data=""), "source.media_type", "invalid_value"),
        (document(type="url", url="https://example.com"), "source.type", "unsupported_content"),
        (document(type="content"), "source.content", "missing_required_parameter"),
        ({"type": "search_result", "title": "t", "source": "s"}, "content", "missing_required_parameter"),
        ({"type": "text", "text": "x", "cache_control": 1}, "cache_control", "invalid_type"),
    ],
)
def test_what_cannot_be_carried(block: Json, param: str, code: str) -> None:
    error = refused(user(block), name=models.NEWEST)
    assert (error.param, error.code) == (f"{PLACE}.{param}", code)


def test_models_that_see_nothing() -> None:
    blind = msgspec.structs.replace(models.model(models.PLAIN), vision=False, pdf=False)
    for block in (image(type="url", url="https://example.com"), document(type="base64", data="")):
        with pytest.raises(GatewayError) as caught:
            PartReader(blind).parts([block], "p")
        assert (caught.value.param, caught.value.code) == ("p.0.source", "unsupported_content")


def test_a_document_that_is_a_string() -> None:
    sent = out(user(document(type="content", content="All of it.")))
    assert sent["messages"] == [{"role": "user", "content": "All of it."}]


def test_a_pdf_without_a_title_gets_a_name() -> None:
    sent = out(user(document(type="base64", media_type="application/pdf", data="JVBERi0=")))
    (part,) = sent["messages"][0]["content"]
    assert part["file"] == {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}
