"""The simulated OpenAI: its routes, its keys, its headers."""

import base64
import random
import struct
from collections.abc import Callable
from typing import Any

from llm_edge_agent.simulator import openai_errors, prompts
from llm_edge_agent.simulator.answers import seeded
from llm_edge_agent.simulator.catalog import OpenAIModel
from llm_edge_agent.simulator.endpoint import Asked, Ready, State
from llm_edge_agent.simulator.openai_chat import chat
from llm_edge_agent.simulator.openai_shapes import EMBEDDINGS
from llm_edge_agent.simulator.records import Billed
from llm_edge_agent.simulator.refusals import Refused
from llm_edge_agent.simulator.wire import data_event, to_json

_MAX_INPUT_TOKENS = 8192
_MAX_TOTAL_TOKENS = 300_000
_EPOCH = 1_700_000_000

Endpoint = Callable[[State, Asked, Any], Ready]


class OpenAISide:
    """Answers on `/v1/...` as api.openai.com does."""

    name = "openai"

    def __init__(self, state: State) -> None:
        self._state = state
        self._posts: dict[str, Endpoint] = {
            "/v1/chat/completions": chat,
            "/v1/embeddings": embeddings,
        }
        """A further POST endpoint (`/v1/responses`) is one more row."""

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

    def headers(self, request_id: str, calls: int, unix_s: float) -> list[tuple[str, str]]:
        return [
            ("x-request-id", request_id),
            ("openai-organization", "org-simulated"),
            ("openai-project", "proj_simulated"),
            ("openai-processing-ms", "12"),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", str(9999 - calls % 1000)),
            ("x-ratelimit-reset-requests", "6ms"),
            ("x-ratelimit-limit-tokens", "2000000"),
            ("x-ratelimit-remaining-tokens", str(1_999_000 - calls % 1000 * 100)),
            ("x-ratelimit-reset-tokens", "30ms"),
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


def embeddings(state: State, asked: Asked, body: Any) -> Ready:
    """POST /v1/embeddings. A text's vector has length 1 and depends on the text and the model. Raises Refused."""
    if (problem := EMBEDDINGS.problem(body, ())) is not None:
        raise openai_errors.shape_refusal(problem)
    model = state.catalog.openai.get(body["model"])
    if model is None:
        raise openai_errors.no_such_model(body["model"])
    if model.mode != "embedding" and body["model"] not in state.settings.extra_models:
        raise openai_errors.invalid("You are not allowed to generate embeddings from this model", "model", status=403)
    wanted = body.get("dimensions")
    full = model.dimensions or 1536
    if wanted is not None and not model.dimensions_adjustable:
        raise openai_errors.invalid("This model does not support specifying dimensions.", "dimensions")
    if wanted is not None and wanted > full:
        raise openai_errors.invalid(
            f"Invalid value for 'dimensions' = {wanted}. Must be less than or equal to {full}.", "dimensions"
        )
    given = body["input"]
    inputs = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    counts = [prompts.text_segment(each).tokens if isinstance(each, str) else len(each) for each in inputs]
    if max(counts) > _MAX_INPUT_TOKENS:
        raise openai_errors.invalid(
            f"This model's maximum context length is {_MAX_INPUT_TOKENS} tokens, however you requested {max(counts)} "
            f"tokens ({max(counts)} in your prompt; 0 for the completion). Please reduce your prompt.",
            "input",
        )
    total = sum(counts)
    if total > _MAX_TOTAL_TOKENS:
        raise openai_errors.invalid(
            f"Invalid 'input': maximum request size is {_MAX_TOTAL_TOKENS} tokens per request.", "input"
        )
    vectors = [_vector(model.id, each, wanted or full) for each in inputs]
    if body.get("encoding_format") == "base64":
        data: list[Any] = [base64.b64encode(struct.pack(f"<{len(each)}f", *each)).decode() for each in vectors]
    else:
        data = vectors
    reply = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(data)],
        "model": model.id,
        "usage": {"prompt_tokens": total, "total_tokens": total},
    }
    bill = Billed(provider="openai", model=model.id, input_tokens=total)
    return Ready(body=to_json(reply), bill=lambda output_tokens, aborted: bill)


def _vector(model: str, text: Any, length: int) -> list[float]:
    rng = random.Random(seeded(model, str(text)))  # noqa: S311  a repeatable vector, not a secret
    values = [rng.uniform(-1, 1) for _ in range(length)]
    norm = sum(each * each for each in values) ** 0.5
    return [round(each / norm, 8) for each in values]
