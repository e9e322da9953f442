"""The text of a request as the providers count and cache it: segments in the order in which the model reads them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from llm_edge_agent.simulator import tokens


@dataclass(frozen=True, slots=True)
class Segment:
    """One text, image or tool definition. `breakpoint`: its prefix is to be cached for that long."""

    text: str
    tokens: int
    breakpoint: Literal["5m", "1h"] | None = None


def text_segment(text: str, ttl: Literal["5m", "1h"] | None = None) -> Segment:
    return Segment(text, tokens.count(text), ttl)


def json_segment(value: Any, ttl: Literal["5m", "1h"] | None = None) -> Segment:
    """A structure (a tool, a schema) counted by its compact JSON."""
    return text_segment(msgspec.json.encode(value).decode(), ttl)


def image_segment(source: Mapping[str, Any], ttl: Literal["5m", "1h"] | None = None) -> Segment:
    digest = hashlib.blake2b(msgspec.json.encode(source), digest_size=16).hexdigest()
    return Segment(digest, tokens.IMAGE_TOKENS, ttl)


def prompt_tokens(segments: Sequence[Segment]) -> int:
    """At least 1, whatever the request."""
    return max(1, sum(segment.tokens for segment in segments))


class NotJson(ValueError):
    """The body is not JSON; the message says where."""


def decode_object(body: bytes) -> Any:
    """The JSON value of a body. Raises NotJson on anything that is not strict JSON in UTF-8."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise NotJson(str(error)) from None
