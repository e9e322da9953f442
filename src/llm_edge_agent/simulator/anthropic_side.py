"""The simulated Anthropic: its routes, its keys, its versions, its headers."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from llm_edge_agent.simulator import anthropic_errors, prompts
from llm_edge_agent.simulator.answers import seeded
from llm_edge_agent.simulator.anthropic_messages import count_tokens, messages
from llm_edge_agent.simulator.behaviour import Limits
from llm_edge_agent.simulator.catalog import AnthropicModel
from llm_edge_agent.simulator.endpoint import Asked, Ready, State
from llm_edge_agent.simulator.refusals import Refused
from llm_edge_agent.simulator.wire import named_event, to_json

VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
_MAX_BODY_BYTES = 32 * 1024 * 1024
_EPOCH = 1_700_000_000

Endpoint = Callable[[State, Asked, Any], Ready]


class AnthropicSide:
    """Answers on `/v1/messages...` as api.anthropic.com does, and on `/v1/models` for its own clients."""

    name = "anthropic"

    def __init__(self, state: State) -> None:
        self._state = state
        self._told = 0
        self._posts: dict[str, Endpoint] = {
            "/v1/messages": messages,
            "/v1/messages/count_tokens": count_tokens,
        }

    def serve(self, asked: Asked) -> Ready:
        """Raises Refused."""
        self._authenticate(asked)
        version = asked.headers.get("anthropic-version")
        if version is None:
            raise anthropic_errors.invalid("anthropic-version: header is required")
        if version not in VERSIONS:
            raise anthropic_errors.invalid(f'anthropic-version: "{version}" is not a valid version')
        post = self._posts.get(asked.path)
        if post is not None:
            if asked.method != "POST":
                raise _wrong_method("POST")
            return post(self._state, asked, _json_body(asked))
        if asked.path == "/v1/models" or asked.path.startswith("/v1/models/"):
            if asked.method not in ("GET", "HEAD"):
                raise _wrong_method("GET")
            return self._models(asked.path.removeprefix("/v1/models").removeprefix("/"), asked.query)
        raise Refused(404, "not_found_error", "Not Found")

    def _authenticate(self, asked: Asked) -> None:
        settings = self._state.settings
        key = asked.headers.get("x-api-key", "")
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if key and token:
            raise _unauthenticated("Specify only one of the `x-api-key` and `Authorization` headers.")
        if not settings.require_key:
            return
        if not key and not token:
            raise _unauthenticated("x-api-key header is required")
        if token and scheme.lower() != "bearer":
            raise _unauthenticated("Invalid authorization header")
        if settings.api_keys and (key or token) not in settings.api_keys:
            name = "x-api-key" if key else "bearer token"
            raise _unauthenticated(f"invalid {name}" + (f": {key or token}" if settings.leak_key else ""))

    def _models(self, name: str, query: str) -> Ready:
        catalog = self._state.catalog.anthropic
        if name:
            model = catalog.get(name)
            if model is None:
                raise anthropic_errors.no_such_model(name)
            return Ready(body=to_json(_model_item(model)))
        found = {model.id: model for model in catalog.values() if not model.retired}
        return Ready(body=to_json(_page([_model_item(model) for model in found.values()], query)))

    def error_body(self, refused: Refused, request_id: str) -> bytes:
        return anthropic_errors.body(refused, request_id)

    def error_event(self, request_id: str) -> bytes:
        """What a stream says when the model fails midway."""
        failed = anthropic_errors.error_object(anthropic_errors.of_status(529))
        return named_event({**failed, "request_id": request_id})

    def error_of_status(self, status: int) -> Refused:
        return anthropic_errors.of_status(status)

    def headers(
        self, request_id: str, unix_s: float, requests: Limits | None, tokens: Limits | None
    ) -> list[tuple[str, str]]:
        self._told += 1
        sizes = {"requests": 4000, "tokens": 4_800_000, "input-tokens": 4_000_000, "output-tokens": 800_000}
        pairs = [
            ("request-id", request_id),
            ("anthropic-organization-id", "00000000-0000-4000-8000-000000000001"),
            ("anthropic-workspace-id", "wrkspc_simulated"),
        ]
        for kind, size in sizes.items():
            asked = requests if kind == "requests" else tokens
            limits = asked or Limits(size, size - 1 - self._told % 1000)
            reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s + limits.reset_s))
            pairs += [
                (f"anthropic-ratelimit-{kind}-limit", str(limits.limit)),
                (f"anthropic-ratelimit-{kind}-remaining", str(limits.remaining)),
                (f"anthropic-ratelimit-{kind}-reset", reset),
            ]
        return [
            *pairs,
            ("set-cookie", f"_cfuvid={request_id}; path=/; HttpOnly; Secure; SameSite=None"),
            ("server", "cloudflare"),
            ("cf-cache-status", "DYNAMIC"),
            ("x-robots-tag", "none"),
        ]

    def new_request_id(self) -> str:
        return self._state.identifier("req_011", 21)


def _json_body(asked: Asked) -> Any:
    if len(asked.body) > _MAX_BODY_BYTES:
        raise Refused(413, "request_too_large", "Request exceeds the maximum size")
    if asked.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise anthropic_errors.invalid("Content-Type must be application/json", status=415)
    try:
        return prompts.decode_object(asked.body)
    except prompts.NotJson as error:
        raise anthropic_errors.invalid(f"The request body is not valid JSON: {error}") from None


def _wrong_method(allowed: str) -> Refused:
    refused = anthropic_errors.invalid("Method Not Allowed", status=405)
    refused.headers = (("allow", allowed),)
    return refused


def _unauthenticated(message: str) -> Refused:
    return Refused(401, "authentication_error", message)


def _page(items: list[dict[str, Any]], query: str) -> dict[str, Any]:
    """`limit` (20) of the items, after or before one of them. Raises Refused."""
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    limit = asked.get("limit", "20")
    if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit) <= 1000:
        raise anthropic_errors.invalid("limit: Input should be a valid integer from 1 to 1000")
    ids = [item["id"] for item in items]
    first, last = 0, len(items)
    if "after_id" in asked:
        first = _position(ids, asked["after_id"], "after_id") + 1
        last = min(first + int(limit), len(items))
    elif "before_id" in asked:
        last = _position(ids, asked["before_id"], "before_id")
        first = max(last - int(limit), 0)
    else:
        last = min(int(limit), len(items))
    page = ids[first:last]
    more = first > 0 if "before_id" in asked else last < len(items)
    ends = (page[0], page[-1]) if page else (None, None)
    return {"data": items[first:last], "has_more": more, "first_id": ends[0], "last_id": ends[1]}


def _position(ids: list[str], wanted: str, name: str) -> int:
    if wanted not in ids:
        raise anthropic_errors.invalid(f"{name}: Model '{wanted}' not found")
    return ids.index(wanted)


def _model_item(model: AnthropicModel) -> dict[str, Any]:
    def can(supported: bool) -> dict[str, bool]:
        return {"supported": supported}

    lifecycle = "retired" if model.retired else "deprecated" if model.deprecated else "active"
    family = model.id.split("-")[1]
    created = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(_EPOCH + seeded(model.id) % 90_000_000))
    retires = f"{model.shutdown_date}T00:00:00Z" if model.shutdown_date else None
    return {
        "type": "model",
        "id": model.id,
        "display_name": _display_name(model),
        "created_at": created,
        "deprecated_at": created if lifecycle != "active" else None,
        "retires_at": retires,
        "lifecycle": lifecycle,
        "line": family if family in ("haiku", "sonnet", "opus", "fable", "mythos") else None,
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output_tokens,
        "capabilities": {
            "batch": can(True),
            "citations": can(True),
            "code_execution": can(True),
            "context_management": can(True),
            "effort": {
                **can(bool(model.efforts)),
                **{each: can(each in model.efforts) for each in ("low", "medium", "high", "xhigh", "max")},
            },
            "image_input": can(True),
            "pdf_input": can(True),
            "server_tools": {**can(True), "code_execution": can(True), "web_search": can(True)},
            "structured_outputs": can(model.structured_outputs),
            "thinking": {
                **can(bool(model.thinking_types)),
                "types": {
                    each: can(each in model.thinking_types)
                    for each in ("adaptive", "between_tools", "disabled", "enabled")
                },
            },
        },
    }


def _display_name(model: AnthropicModel) -> str:
    major, minor = model.generation
    return f"Claude {model.id.split('-')[1].title()} {major}" + (f".{minor}" if minor else "")
