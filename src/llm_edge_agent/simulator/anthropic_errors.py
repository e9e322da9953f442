"""Anthropic's errors: the body, the words for each problem of shape, and the realistic error of each status."""

import random
from typing import Any

import msgspec

from llm_edge_agent.simulator.directives import Directives
from llm_edge_agent.simulator.refusals import Refused
from llm_edge_agent.simulator.shapes import Problem

_VALID = {
    "a string": "Input should be a valid string",
    "an integer": "Input should be a valid integer",
    "a decimal": "Input should be a valid number",
    "a boolean": "Input should be a valid boolean",
    "an array": "Input should be a valid list",
    "an object": "Input should be an object",
}


def body(refused: Refused, request_id: str) -> bytes:
    return msgspec.json.encode({**error_object(refused), "request_id": request_id})


def error_object(refused: Refused) -> dict[str, Any]:
    """The body without the request id."""
    error: dict[str, Any] = {"type": refused.kind, "message": refused.message}
    if refused.code is not None:
        error["details"] = {"error_code": refused.code}
    return {"type": "error", "error": error}


def invalid(message: str, status: int = 400) -> Refused:
    return Refused(status, "invalid_request_error", message)


def shape_refusal(problem: Problem) -> Refused:
    """The problem in Anthropic's words: `messages.0.content: Field required`."""
    where = ".".join(str(element) for element in problem.path)
    if problem.kind == "tag":
        where, key = ".".join(str(element) for element in problem.path[:-1]), problem.path[-1]
        allowed = ", ".join(f"'{value}'" for value in problem.expected)
        found = f"Input tag '{problem.got}' found using '{key}' does not match any of the expected tags: {allowed}"
        return invalid(f"{where}: {found}")
    return invalid(f"{where}: {_what(problem)}")


def _what(problem: Problem) -> str:
    expected, got = problem.expected, problem.got
    match problem.kind:
        case "unknown":
            return "Extra inputs are not permitted"
        case "missing":
            return "Field required"
        case "type":
            return _VALID.get(expected, f"Input should be {expected}")
        case "value":
            quoted = [f"'{value}'" for value in expected]
            last = f" or {quoted[-1]}" if len(quoted) > 1 else ""
            return f"Input should be {', '.join(quoted[:-1] if last else quoted)}{last}"
        case "pattern":
            return f"String should match pattern '{expected}'"
        case "below":
            return f"Input should be greater than or equal to {expected}"
        case "above":
            return f"Input should be less than or equal to {expected}"
        case "too_short":
            return f"String should have at least {expected} character{'s' if expected > 1 else ''}"
        case "too_long":
            return f"String should have at most {expected} characters"
        case "too_few":
            return f"List should have at least {expected} item{'s' if expected > 1 else ''} after validation, not {got}"
        case _:
            return f"List should have at most {expected} items after validation, not {got}"


_BY_STATUS = {
    400: ("invalid_request_error", "The request could not be processed."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "The requested resource could not be found."),
    408: ("timeout_error", "Request timed out."),
    409: ("conflict_error", "The resource was changed by another request."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: (
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests per minute. "
        "Please reduce the rate of requests or try again later.",
    ),
    500: ("api_error", "Internal server error"),
    502: ("api_error", "Bad gateway"),
    503: ("api_error", "Service temporarily unavailable"),
    504: ("timeout_error", "The request timed out."),
    529: ("overloaded_error", "Overloaded"),
}


def of_status(status: int) -> Refused:
    """The error a client would really see with this status."""
    default = ("api_error" if status >= 500 else "invalid_request_error", f"The request failed with status {status}.")
    kind, message = _BY_STATUS.get(status, default)
    return Refused(status, kind, message)


_BY_NAME = {
    "contract_spend_limit_reached": (429, "rate_limit_error", "Your organization has reached its contracted spend."),
    "enforced_spend_limit_reached": (429, "rate_limit_error", "You have reached your specified API usage limits."),
    "ramp_limit_exceeded": (429, "rate_limit_error", "Your usage grew faster than your organization's ramp limit."),
    "request_body_too_large_after_decoding": (413, "invalid_request_error", "Request exceeds the maximum size"),
}
"""Errors that are told apart by `error.details.error_code`."""


def raise_directed(directives: Directives, rng: random.Random) -> None:
    """Raises the error that the request's own directives ask for, if it is its turn."""
    if not directives.unlucky(rng):
        return
    if directives.error is not None:
        if directives.error not in _BY_NAME:
            raise invalid(f"sim directive: error is one of {', '.join(_BY_NAME)}")
        status, kind, message = _BY_NAME[directives.error]
        refused = Refused(status, kind, message, code=directives.error)
    else:
        refused = of_status(directives.status or rng.choice((429, 500, 529)))
    refused.headers = directives.retry_headers()
    raise refused


def no_such_model(name: str) -> Refused:
    return Refused(404, "not_found_error", f"model: {name}")
