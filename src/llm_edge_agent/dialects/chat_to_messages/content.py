"""Content parts of a chat message as Anthropic content blocks (mapping section 3), with their cache markers."""

import base64
import binascii
import re
from collections.abc import Collection, Iterable

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.fields import (
    Json,
    Losses,
    invalid,
    items,
    members,
    missing,
    present,
    required_text,
    text,
    unsupported,
)

TEXT_PARTS = frozenset({"text"})
ASSISTANT_PARTS = frozenset({"text", "refusal"})
USER_PARTS = frozenset({"text", "image_url", "file"})

MAX_CACHE_MARKERS = 4
FILES_BETA = "files-api-2025-04-14"

_IMAGE_TYPES = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
}
_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)


class PartReader:
    """Turns parts into blocks for one model, and remembers which betas they need."""

    def __init__(self, model: Model, losses: Losses, default_ttl: str | None) -> None:
        self.betas: dict[str, None] = {}
        self._model = model
        self._losses = losses
        self._default_ttl = default_ttl

    def blocks(self, content: object, param: str, allowed: Collection[str]) -> list[Json]:
        """The blocks of a message's `content`; none for null. Text that is empty or only white space is a 400 at
        Anthropic and left out."""
        if content is None:
            return []
        if isinstance(content, str):
            return self._text_block(content)
        found: list[Json] = []
        for index, part in enumerate(items(content, param)):
            place = f"{param}[{index}]"
            block = self._part(present(members(part, place)), place, allowed)
            found += block
        return found

    def marker(self, source: Json, param: str) -> Json | None:
        """The `cache_control` that a part, message or tool asks for: Anthropic's own key, or OpenAI's breakpoint."""
        native = source.get("cache_control")
        if native is not None:
            return members(native, f"{param}.cache_control")
        wanted = source.get("prompt_cache_breakpoint")
        if wanted is None:
            return None
        place = f"{param}.prompt_cache_breakpoint"
        ttl = members(wanted, place).get("ttl")
        ttl = self._default_ttl if ttl is None else text(ttl, f"{place}.ttl")
        if ttl is None:
            return {"type": "ephemeral"}
        self._losses.changed("prompt_cache_breakpoint")
        return {"type": "ephemeral", "ttl": "1h"}

    def _text_block(self, value: str) -> list[Json]:
        if value.strip():
            return [{"type": "text", "text": value}]
        if value:
            self._losses.changed("messages")
        return []

    def _part(self, part: Json, param: str, allowed: Collection[str]) -> list[Json]:
        kind = required_text(part, "type", param)
        if kind == "input_audio":
            raise unsupported("Audio input is not supported by this model.", param, "unsupported_content")
        if kind not in allowed:
            raise invalid(
                f"Invalid value: '{kind[:64]}'. Supported values are: {', '.join(sorted(allowed))}.", f"{param}.type"
            )
        if kind in ASSISTANT_PARTS:
            blocks = self._text_block(required_text(part, kind, param))
        elif kind == "image_url":
            blocks = [self._image(part, param)]
        else:
            blocks = [self._file(part, f"{param}.file")]
        marker = self.marker(part, param)
        if marker is not None and blocks:
            blocks[0]["cache_control"] = marker
        return blocks

    def _image(self, part: Json, param: str) -> Json:
        place = f"{param}.image_url"
        if not self._model.vision:
            raise unsupported("Image input is not supported by this model.", param, "unsupported_content")
        source = part.get("image_url")
        if isinstance(source, str):
            url = source
        elif source is None:
            raise missing(place)
        else:
            url = required_text(members(source, place), "url", place)
            place = f"{place}.url"
        if url[:7].lower() == "http://" or url[:8].lower() == "https://":
            return {"type": "image", "source": {"type": "url", "url": url}}
        media_type, data = _data_url(url, place, "invalid_image_format")
        known = _IMAGE_TYPES.get(media_type)
        if known is None:
            raise invalid(
                "Unsupported image: expected a URL, or a base64 data URL of type image/jpeg, png, gif or webp.",
                place,
                "invalid_image_format",
            )
        return {"type": "image", "source": {"type": "base64", "media_type": known, "data": data}}

    def _file(self, part: Json, param: str) -> Json:
        source = part.get("file")
        if source is None:
            raise missing(param)
        file = present(members(source, param))
        block: Json = {"type": "document", "source": self._file_source(file, param)}
        if "filename" in file:
            block["title"] = text(file["filename"], f"{param}.filename")
        return block

    def _file_source(self, file: Json, param: str) -> Json:
        if "file_data" not in file:
            place = f"{param}.file_id"
            file_id = required_text(file, "file_id", param)
            if not file_id.startswith("file_"):
                raise invalid(f"No such file: '{file_id[:64]}'.", place, "file_not_found")
            self.betas[FILES_BETA] = None
            return {"type": "file", "file_id": file_id}
        place = f"{param}.file_data"
        data = text(file["file_data"], place)
        media_type = "application/pdf"
        if data[:5].lower() == "data:":
            media_type, data = _data_url(data, place, "invalid_value")
        if media_type == "application/pdf":
            if not self._model.pdf:
                raise unsupported("PDF input is not supported by this model.", param, "unsupported_content")
            if not data:
                raise invalid("The file is empty.", place)
            return {"type": "base64", "media_type": media_type, "data": data}
        if media_type == "text/plain":
            return {"type": "text", "media_type": media_type, "data": _plain_text(data, place)}
        raise unsupported(
            f"Files of type '{media_type[:64]}' are not supported by this model.", place, "unsupported_content"
        )


def _data_url(url: str, param: str, code: str) -> tuple[str, str]:
    """Media type (lower case) and base64 text of a data URL."""
    match = _DATA_URL.match(url)
    if match is None or ";base64" not in match[2].lower():
        raise invalid("Expected a base64 data URL: 'data:<media type>;base64,<data>'.", param, code)
    return match[1].strip().lower(), url[match.end() :]


def _plain_text(data: str, param: str) -> str:
    try:
        value = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid("The file is not base64 of UTF-8 text.", param) from None
    if not value.strip():
        raise invalid("The file is empty.", param)
    return value


def limit_cache_markers(holders: Iterable[Json], reserved: int, losses: Losses) -> bool:
    """Keeps the last markers that Anthropic's bound allows. `holders` are all blocks and tools in the order of the
    prompt, `reserved` counts markers elsewhere. Whether there are any."""
    marked = [holder for holder in holders if "cache_control" in holder]
    excess = len(marked) + reserved - MAX_CACHE_MARKERS
    if excess > 0:
        losses.dropped("cache_control")
        for holder in marked[:excess]:
            del holder["cache_control"]
    return bool(marked) or reserved > 0
