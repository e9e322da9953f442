"""Typed reading of a client's JSON, and the record of what a translation could not carry over.

Every reader takes the name of the place it reads (`messages[2].content[0].text`), so that a refusal can name it.
Numbers with a fraction or exponent arrive as `msgspec.Raw`: the text that the client sent is what goes upstream.
"""

import re
from typing import Any

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError

Json = dict[str, Any]
Number = int | msgspec.Raw

_decoder = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode()))


def decode_object(text: bytes | str) -> Json | None:
    """A JSON object with its numbers kept as text, or None where `text` is no such thing."""
    try:
        value = _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return value if type(value) is dict else None


def present(value: Json) -> Json:
    """The members of an object that are not null: a null member counts as absent."""
    return {key: item for key, item in value.items() if item is not None}


def invalid(message: str, param: str, code: str = "invalid_value") -> GatewayError:
    """A value that is wrong whatever the model."""
    return GatewayError(ErrorKind.INVALID_REQUEST, message, param=param, code=code)


def unsupported(message: str, param: str, code: str = "unsupported_parameter") -> GatewayError:
    """A value that OpenAI knows and this provider or model does not."""
    return GatewayError(ErrorKind.UNSUPPORTED, message, param=param, code=code)


def missing(param: str) -> GatewayError:
    return GatewayError(ErrorKind.MISSING_PARAMETER, f"Missing required parameter: '{param}'.", param=param)


def _wrong_type(value: object, wanted: str, param: str) -> GatewayError:
    found = "an object" if isinstance(value, dict) else _JSON_NAMES.get(type(value), "a number")
    return GatewayError(
        ErrorKind.INVALID_TYPE, f"Invalid type for '{param}': expected {wanted}, but got {found} instead.", param=param
    )


_JSON_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    str: "a string",
    list: "an array",
    int: "an integer",
}


def text(value: object, param: str) -> str:
    if type(value) is not str:
        raise _wrong_type(value, "a string", param)
    return value


def flag(value: object, param: str) -> bool:
    if type(value) is not bool:
        raise _wrong_type(value, "a boolean", param)
    return value


def integer(value: object, param: str, minimum: int) -> int:
    if type(value) is not int:
        raise _wrong_type(value, "an integer", param)
    if value < minimum:
        raise invalid(
            f"Invalid '{param}': integer below minimum value. Expected a value >= {minimum}, but got {value} instead.",
            param,
            "integer_below_min_value",
        )
    return value


def number(value: object, param: str) -> Number:
    """The number as it will be sent. `float(bytes(raw))` or `as_float` tells its size."""
    if type(value) is int or type(value) is msgspec.Raw:
        return value
    raise _wrong_type(value, "a number", param)


def as_float(value: Number) -> float:
    if isinstance(value, int):
        return float(min(max(value, -(2**53)), 2**53))  # only compared with small bounds; no overflow
    return float(bytes(value))


def items(value: object, param: str) -> list[Any]:
    if type(value) is not list:
        raise _wrong_type(value, "an array", param)
    return value


def members(value: object, param: str) -> Json:
    if type(value) is not dict:
        raise _wrong_type(value, "an object", param)
    return value


def required_text(container: Json, key: str, param: str) -> str:
    """A string member that must be there. `param` is the place of the container."""
    place = f"{param}.{key}"
    if container.get(key) is None:
        raise missing(place)
    return text(container[key], place)


_HEADER_SAFE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_MAX_WARNINGS = 32
"""Warnings become one header; a client may send any number of members under any names."""


class Losses:
    """What did not survive the translation, for `x-llm-edge-warnings`. In strict mode a loss is a refusal."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self._items: dict[str, None] = {}

    def dropped(self, field: str, *, code: str = "unsupported_parameter", param: str | None = None) -> None:
        """Raises GatewayError (400) in strict mode."""
        if self.strict:
            name = (param if param is not None else field)[:64]
            raise unsupported(f"'{name}' is not supported with this model.", name, code)
        self._items[f"dropped:{field if _HEADER_SAFE.fullmatch(field) else 'unknown'}"] = None

    def changed(self, field: str) -> None:
        """Something is said in another way, or less exactly; strict mode lets it pass with the warning."""
        self._items[f"changed:{field}"] = None

    def changed_or_refused(self, field: str, message: str, *, param: str, code: str = "unsupported_value") -> None:
        """A change that strict mode refuses: raises GatewayError (400) there."""
        if self.strict:
            raise unsupported(message, param, code)
        self.changed(field)

    def warnings(self) -> tuple[str, ...]:
        return tuple(self._items)[:_MAX_WARNINGS]
