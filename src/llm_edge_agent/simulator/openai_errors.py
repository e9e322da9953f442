"""OpenAI's errors: the body, the words for each problem of shape, and the realistic error of each status."""

import random
from typing import Any

import msgspec

from llm_edge_agent.simulator.directives import Directives
from llm_edge_agent.simulator.refusals import Refused
from llm_edge_agent.simulator.shapes import Path, Problem, Tag

_WORDS: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def body(refused: Refused) -> bytes:
    return msgspec.json.encode(error_object(refused))


def error_object(refused: Refused) -> dict[str, Any]:
    return {
        "error": {
            "message": refused.message,
            "type": refused.kind,
            "param": refused.param,
            "code": refused.code,
        }
    }


def invalid(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> Refused:
    return Refused(status, "invalid_request_error", message, param=param, code=code)


def unsupported(param: str, advice: str = "") -> Refused:
    message = f"Unsupported parameter: '{param}' is not supported with this model.{advice}"
    return invalid(message, param, "unsupported_parameter")


def only_default(param: str, value: Any, default: int) -> Refused:
    message = (
        f"Unsupported value: '{param}' does not support {msgspec.json.encode(value).decode()} with this model. "
        f"Only the default ({default}) value is supported."
    )
    return invalid(message, param, "unsupported_value")


def dotted(path: Path) -> str:
    """`messages[0].content[1].type`."""
    text = ""
    for element in path:
        if isinstance(element, Tag):
            continue
        if isinstance(element, int):
            text += f"[{element}]"
        else:
            text += f".{element}" if text else element
    return text


def quoted_list(values: tuple[str, ...]) -> str:
    quoted = [f"'{value}'" for value in values]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def shape_refusal(problem: Problem) -> Refused:
    """The problem in OpenAI's words."""
    where, expected, got = dotted(problem.path), problem.expected, problem.got
    match problem.kind:
        case "unknown":
            return invalid(f"Unknown parameter: '{where}'.", where, "unknown_parameter")
        case "missing":
            return invalid(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
        case "type":
            words = _WORDS[type(got)]
            plain = "null" if got is None else f"{words} instead"
            return invalid(f"Invalid type for '{where}': expected {expected}, but got {plain}.", where, "invalid_type")
        case "value" | "tag":
            message = f"Invalid value: '{got}'. Supported values are: {quoted_list(expected)}."
            return invalid(message, where, "invalid_value")
        case "pattern":
            message = (
                f"Invalid '{where}': string does not match pattern. "
                f"Expected a string that matches the pattern '{expected}'."
            )
            return invalid(message, where, "invalid_value")
        case "below" | "above":
            return _out_of_bounds(problem, where)
        case "too_few" if got == 0:
            message = (
                f"Invalid '{where}': empty array. "
                f"Expected an array with minimum length {expected}, but got an empty array instead."
            )
            return invalid(message, where, "empty_array")
        case _:
            return _wrong_length(problem, where)


def _out_of_bounds(problem: Problem, where: str) -> Refused:
    noun = "integer" if isinstance(problem.got, int) else "decimal"
    side, sign = ("below minimum", ">=") if problem.kind == "below" else ("above maximum", "<=")
    number = f"{problem.got:g}" if isinstance(problem.got, float) else str(problem.got)
    message = (
        f"Invalid '{where}': {noun} {side} value. Expected a value {sign} {problem.expected}, but got {number} instead."
    )
    return invalid(message, where, f"{noun}_{'below_min' if problem.kind == 'below' else 'above_max'}_value")


def _wrong_length(problem: Problem, where: str) -> Refused:
    short = problem.kind in ("too_short", "too_few")
    if problem.kind == "too_many_pairs":
        message = (
            f"Invalid '{where}': too many properties. Expected an object with at most {problem.expected} properties, "
            f"but got an object with {problem.got} properties instead."
        )
        return invalid(message, where, "object_above_max_properties")
    noun = "string" if problem.kind in ("too_short", "too_long") else "array"
    article = "a" if noun == "string" else "an"
    length, bound = ("short", "minimum") if short else ("long", "maximum")
    message = (
        f"Invalid '{where}': {noun} too {length}. Expected {article} {noun} with {bound} length {problem.expected}, "
        f"but got {article} {noun} with length {problem.got} instead."
    )
    return invalid(message, where, f"{noun}_{'below_min' if short else 'above_max'}_length")


def of_status(status: int, model: str) -> Refused:
    """The error a client would really see with this status."""
    by_status = {
        400: invalid("Invalid request: the request could not be processed."),
        401: invalid(
            "Incorrect API key provided: sk-sim***key. "
            "You can find your API key at https://platform.openai.com/account/api-keys.",
            code="invalid_api_key",
        ),
        403: invalid("Country, region, or territory not supported", code="unsupported_country_region_territory"),
        404: no_such_model(model),
        408: invalid("Request timed out."),
        413: invalid("Request body is too large.", code="request_too_large"),
        429: Refused(
            429,
            "requests",
            f"Rate limit reached for {model} in organization org-simulated on requests per min (RPM): "
            "Limit 500, Used 500, Requested 1. Please try again in 120ms. "
            "Visit https://platform.openai.com/account/rate-limits to learn more.",
            code="rate_limit_exceeded",
        ),
        500: Refused(500, "server_error", "The server had an error while processing your request. Sorry about that!"),
        502: Refused(502, "server_error", "Bad gateway."),
        503: Refused(
            503,
            "server_error",
            "The engine is currently overloaded, please try again later",
            code="overloaded",
        ),
        504: Refused(504, "server_error", "Gateway timeout."),
    }
    kind = "server_error" if status >= 500 else "invalid_request_error"
    refused = by_status.get(status, Refused(status, kind, f"The request failed with status {status}."))
    refused.status = status
    return refused


_BY_NAME = {
    "content_policy_violation": invalid(
        "Your request was rejected as a result of our safety system.", code="content_policy_violation"
    ),
    "context_length_exceeded": invalid(
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        code="context_length_exceeded",
    ),
    "insufficient_quota": Refused(
        429,
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
        code="insufficient_quota",
    ),
    "tokens": Refused(
        429,
        "tokens",
        "Rate limit reached in organization org-simulated on tokens per min (TPM): Limit 30000, Used 29900, "
        "Requested 200. Please try again in 200ms.",
        code="rate_limit_exceeded",
    ),
}


def raise_directed(directives: Directives, model: str, rng: random.Random) -> None:
    """Raises the error that the request's own directives ask for, if it is its turn."""
    if not directives.unlucky(rng):
        return
    if directives.error is not None:
        found = _BY_NAME.get(directives.error)
        if found is None:
            raise invalid(f"sim directive: error is one of {', '.join(_BY_NAME)}")
        refused = Refused(found.status, found.kind, found.message, param=found.param, code=found.code)
    else:
        refused = of_status(directives.status or rng.choice((429, 500, 503)), model)
    refused.headers = directives.retry_headers()
    raise refused


def no_such_model(name: str) -> Refused:
    message = f"The model `{name}` does not exist or you do not have access to it."
    return invalid(message, code="model_not_found", status=404)
