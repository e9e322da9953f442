"""Anthropic content blocks as parts of a chat message (mapping section 3, reverse), with their cache markers."""

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.fields import (
    Json,
    invalid,
    items,
    members,
    missing,
    present,
    required_text,
    text,
    unsupported,
)

_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_MAX_TYPE_SHOWN = 64


class PartReader:
    """Turns blocks into parts for one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        prices = model.prices
        self._marks = prices is not None and prices.base.cache_write is not None
        """Models that bill cache writes take breakpoints; others cache by themselves."""

    def parts(self, content: object, param: str) -> list[Json]:
        """The parts of a message's `content`, whatever its form. Raises GatewayError (400)."""
        if isinstance(content, str):
            return [{"type": "text", "text": content}]
        found: list[Json] = []
        for index, entry in enumerate(items(content, param)):
            place = f"{param}.{index}"
            found += self.part(present(members(entry, place)), place)
        return found

    def part(self, block: Json, param: str) -> list[Json]:
        """The parts that one block becomes: several for a document of several pieces."""
        kind = required_text(block, "type", param)
        if kind == "text":
            parts: list[Json] = [{"type": "text", "text": required_text(block, "text", param)}]
        elif kind == "image":
            parts = [self._image(_source(block, param), f"{param}.source")]
        elif kind == "document":
            parts = self._document(block, param)
        elif kind == "search_result":
            parts = self._search_result(block, param)
        else:
            raise unsupported(
                f"Content of type '{kind[:_MAX_TYPE_SHOWN]}' is not supported with this model.",
                f"{param}.type",
                "unsupported_content",
            )
        marker = block.get("cache_control")
        if self._marks and marker is not None and parts:
            parts[-1]["prompt_cache_breakpoint"] = _breakpoint(members(marker, f"{param}.cache_control"))
        return parts

    def _image(self, source: Json, param: str) -> Json:
        if not self._model.vision:
            raise unsupported("Image input is not supported by this model.", param, "unsupported_content")
        kind = required_text(source, "type", param)
        if kind == "url":
            return {"type": "image_url", "image_url": {"url": required_text(source, "url", param)}}
        if kind != "base64":
            raise unsupported(
                f"Images of source '{kind[:_MAX_TYPE_SHOWN]}' are not supported with this model.",
                f"{param}.type",
                "unsupported_content",
            )
        media_type = required_text(source, "media_type", param)
        if media_type not in _IMAGE_TYPES:
            raise invalid(
                f"Unsupported image: expected one of {', '.join(_IMAGE_TYPES)}.",
                f"{param}.media_type",
                "invalid_image_format",
            )
        return {
            "type": "image_url",
            "image_url": {"url": f"data:{media_type};base64,{required_text(source, 'data', param)}"},
        }

    def _document(self, block: Json, param: str) -> list[Json]:
        source, place = _source(block, param), f"{param}.source"
        kind = required_text(source, "type", place)
        title = text(block.get("title", ""), f"{param}.title")
        context = text(block.get("context", ""), f"{param}.context")
        heading = [{"type": "text", "text": line} for line in (title, context) if line]
        if kind == "base64":
            if not self._model.pdf:
                raise unsupported("PDF input is not supported by this model.", place, "unsupported_content")
            media_type = required_text(source, "media_type", place)
            if media_type != "application/pdf":
                raise invalid("Unsupported document: expected 'application/pdf'.", f"{place}.media_type")
            file = {
                "filename": title or "document.pdf",
                "file_data": f"data:application/pdf;base64,{required_text(source, 'data', place)}",
            }
            return [*heading[bool(title) :], {"type": "file", "file": file}]
        if kind == "text":
            return [*heading, {"type": "text", "text": required_text(source, "data", place)}]
        if kind == "content":
            if "content" not in source:
                raise missing(f"{place}.content")
            return heading + self.parts(source["content"], f"{place}.content")
        raise unsupported(
            f"Documents of source '{kind[:_MAX_TYPE_SHOWN]}' are not supported with this model.",
            f"{place}.type",
            "unsupported_content",
        )

    def _search_result(self, block: Json, param: str) -> list[Json]:
        heading = f"{required_text(block, 'title', param)}\n{required_text(block, 'source', param)}"
        if "content" not in block:
            raise missing(f"{param}.content")
        return [{"type": "text", "text": heading}, *self.parts(block["content"], f"{param}.content")]


def _source(block: Json, param: str) -> Json:
    if "source" not in block:
        raise missing(f"{param}.source")
    return present(members(block["source"], f"{param}.source"))


def _breakpoint(marker: Json) -> Json:
    """Anthropic's hour is OpenAI's half hour; its five minutes are less than OpenAI's least, which is then the rule."""
    wanted = {"mode": "explicit"}
    if marker.get("ttl") == "1h":
        wanted["ttl"] = "30m"
    return wanted
