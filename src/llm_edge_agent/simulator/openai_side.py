"""The simulated OpenAI: its routes, its keys, its headers."""

import math
from collections.abc import Callable
from typing import Any

from llm_edge_agent.simulator import openai_errors, openai_responses, prompts
from llm_edge_agent.simulator.answers import seeded
from llm_edge_agent.simulator.behaviour import Limits
from llm_edge_agent.simulator.catalog import OpenAIModel
from llm_edge_agent.simulator.endpoint import Asked, Ready, State
from llm_edge_agent.simulator.openai_chat import chat
from llm_edge_agent.simulator.openai_completions import completions
from llm_edge_agent.simulator.openai_embeddings import embeddings
from llm_edge_agent.simulator.refusals import Refused
from llm_edge_agent.simulator.wire import data_event, to_json

_EPOCH = 1_700_000_000

Endpoint = Callable[[State, Asked, Any], Ready]


class OpenAISide:
    """Answers on `/v1/...` as api.openai.com does."""

    name = "openai"

    def __init__(self, state: State) -> None:
        self._state = state
        self._told = 0
        self._posts: dict[str, Endpoint] = {
            "/v1/chat/completions": chat,
            "/v1/completions": completions,
            "/v1/embeddings": embeddings,
            "/v1/responses": openai_responses.create,
            "/v1/responses/input_tokens": openai_responses.count_input,
        }

    def serve(self, asked: Asked) -> Ready:
        """Raises Refused."""
        self._authenticate(asked)
        post = self._posts.get(asked.path)
        if post is not None:
            if asked.method != "POST":
                raise _wrong_method(asked)
            return post(self._state, asked, _json_body(asked))
        if asked.path == "/v1/models" or asked.path.startswith("/v1/models/"):
            if asked.method not in ("GET", "HEAD"):
                raise _wrong_method(asked)
            return self._models(asked.path.removeprefix("/v1/models").removeprefix("/"))
        if asked.path.startswith(f"{openai_responses.PATH}/"):
            return openai_responses.stored(self._state, asked)
        raise openai_errors.invalid(f"Invalid URL ({asked.method} {asked.path})", code="unknown_url", status=404)

    def _authenticate(self, asked: Asked) -> None:
        settings = self._state.settings
        scheme, _, key = asked.headers.get("authorization", "").partition(" ")
        key = key.strip()
        if not settings.require_key:
            return
        if scheme.lower() != "bearer" or not key:
            raise openai_errors.invalid(
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if "
                "you're accessing the API from your browser and are prompted for a username and password. You can "
                "obtain an API key from https://platform.openai.com/account/api-keys.",
                status=401,
            )
        if settings.api_keys and key not in settings.api_keys:
            shown = key if settings.leak_key else _masked(key)
            raise openai_errors.invalid(
                f"Incorrect API key provided: {shown}. "
                "You can find your API key at https://platform.openai.com/account/api-keys.",
                code="invalid_api_key",
                status=401,
            )

    def _models(self, name: str) -> Ready:
        catalog = self._state.catalog.openai
        if name:
            model = catalog.get(name)
            if model is None or model.retired:
                raise openai_errors.invalid(
                    f"The model '{name}' does not exist", "model", "model_not_found", status=404
                )
            return Ready(body=to_json(_model_item(name, model)))
        items = [_model_item(each, model) for each, model in catalog.items() if not model.retired]
        return Ready(body=to_json({"object": "list", "data": items}))

    def error_body(self, refused: Refused, request_id: str) -> bytes:
        return openai_errors.body(refused)

    def error_event(self, request_id: str) -> bytes:
        """What a stream says when the model fails midway."""
        return data_event(openai_errors.error_object(openai_errors.of_status(500, "")))

    def error_of_status(self, status: int) -> Refused:
        return openai_errors.of_status(status, "the model")

    def headers(
        self, request_id: str, unix_s: float, requests: Limits | None, tokens: Limits | None
    ) -> list[tuple[str, str]]:
        self._told += 1
        told = self._told % 1000
        limits = {
            "requests": requests or Limits(10_000, 9_999 - told, 0.006),
            "tokens": tokens or Limits(2_000_000, 1_999_000 - told * 100, 0.03),
        }
        pairs = [
            ("x-request-id", request_id),
            ("openai-organization", "org-simulated"),
            ("openai-project", "proj_simulated"),
            ("openai-processing-ms", "12"),
            ("openai-version", "2020-10-01"),
        ]
        for kind, each in limits.items():
            pairs += [
                (f"x-ratelimit-limit-{kind}", str(each.limit)),
                (f"x-ratelimit-remaining-{kind}", str(each.remaining)),
                (f"x-ratelimit-reset-{kind}", _duration(each.reset_s)),
            ]
        return [
            *pairs,
            ("set-cookie", f"__cf_bm={request_id}; path=/; HttpOnly; Secure; SameSite=None"),
            ("server", "cloudflare"),
            ("cf-cache-status", "DYNAMIC"),
        ]

    def new_request_id(self) -> str:
        return f"req_{self._state.rng.getrandbits(128):032x}"


def _json_body(asked: Asked) -> Any:
    content_type = asked.headers.get("content-type", "")
    if content_type.split(";")[0].strip().lower() != "application/json":
        raise openai_errors.invalid(
            f"Unsupported content type: '{content_type}'. This API method only accepts 'application/json' requests, "
            f"but you specified the header 'Content-Type: {content_type}'. Please try again with a supported content "
            "type.",
            code="unsupported_content_type",
            status=415,
        )
    try:
        return prompts.decode_object(asked.body)
    except prompts.NotJson:
        raise openai_errors.invalid(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
            "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
        ) from None


def _wrong_method(asked: Asked) -> Refused:
    refused = openai_errors.invalid(
        f"Not allowed to {asked.method} on {asked.path}. (HINT: Perhaps you meant to use a different HTTP method?)",
        code="method_not_supported",
        status=405,
    )
    refused.headers = (("allow", "GET" if asked.path.startswith("/v1/models") else "POST"),)
    return refused


def _duration(seconds: float) -> str:
    """As Go writes it: `6ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{int(minutes)}m{text}" if minutes else text


def _masked(key: str) -> str:
    return f"{key[:8]}{'*' * max(len(key) - 12, 3)}{key[-4:]}" if len(key) > 12 else "***"


def _model_item(name: str, model: OpenAIModel) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": _EPOCH + seeded(name) % 90_000_000,
        "owned_by": "system",
        "shutdown_date": model.shutdown_date,
    }
