"""A chat completion request as a Responses request: every field of mapping section 9, one decision each.

Same vendor, same model: values pass as they are, and what is wrong with them the provider says. Only places differ,
and what the other API does not have. The order of members in the result is fixed: prompt caching lives on it.
"""

from typing import Any

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_only import refuse_what_only_chat_has
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.chat_to_responses.items import ItemReader
from llm_edge_agent.dialects.chat_to_responses.sent import Sent, Translated
from llm_edge_agent.dialects.fields import (
    Json,
    Losses,
    as_float,
    decode_object,
    flag,
    integer,
    invalid,
    items,
    members,
    missing,
    number,
    present,
    required_text,
    text,
    unsupported,
)

MIN_OUTPUT_TOKENS = 16
"""The least `max_output_tokens` that the Responses API takes."""

ENCRYPTED = "reasoning.encrypted_content"

_SAME = (
    *("parallel_tool_calls", "metadata", "moderation", "prompt_cache_key", "prompt_cache_options"),
    *("prompt_cache_retention", "safety_identifier", "service_tier", "user"),
)
"""Members of both APIs, with the same meaning."""

_READ = frozenset(
    {
        *("model", "messages", "max_completion_tokens", "max_tokens", "temperature", "top_p", "stop", "stream"),
        *("stream_options", "n", "tools", "tool_choice", "response_format", "reasoning_effort", "include_reasoning"),
        *("verbosity", "logprobs", "top_logprobs", "logit_bias", "frequency_penalty", "presence_penalty", "store"),
        *("seed", "prediction", "modalities", "audio", "web_search_options", "functions", "function_call", *_SAME),
    }
)


def translate_request(
    body: bytes, model: Model, options: TranslationOptions, *, upstream_model: str | None = None, expose: bool = False
) -> Translated:
    """The Responses request for a chat completion request.

    `upstream_model` is the name to ask the provider for; None: the client's own. `expose`: show the reasoning whatever
    request and options say. Raises GatewayError (400 family, `param` naming the place) for whatever cannot be
    translated; never another exception, whatever the body.
    """
    try:
        request = decode_object(body)
        if request is None:
            raise GatewayError(ErrorKind.INVALID_JSON, "We could not parse the JSON body of your request.")
        for key in ("model", "messages"):
            if request.get(key) is None:
                raise missing(key)
        return _Request(present(request), model, options).translate(upstream_model, expose)
    except RecursionError:
        raise GatewayError(ErrorKind.INVALID_JSON, "The request is nested too deeply.") from None


class _Request:
    def __init__(self, request: Json, model: Model, options: TranslationOptions) -> None:
        self._in = request
        self._model = model
        self._options = options
        self._losses = Losses(strict=options.strict)

    def translate(self, upstream_model: str | None, expose: bool) -> Translated:
        requested = text(self._in["model"], "model")
        self._refuse_untranslatable()
        reader = ItemReader(self._losses)
        reader.read(self._in["messages"])
        stream = flag(self._in.get("stream", False), "stream")
        expose = expose or flag(self._in.get("include_reasoning", self._options.expose_thinking), "include_reasoning")

        out: Json = {"model": upstream_model if upstream_model is not None else requested, "input": reader.items}
        self._max_tokens(out)
        for key in ("temperature", "top_p"):
            if as_float(number(self._in.get(key, 1), key)) != 1:  # models that reason refuse even the default here
                out[key] = self._in[key]
        self._tools(out)
        self._text(out)
        self._reasoning(out, expose)
        for key in _SAME:
            if key in self._in:
                out[key] = self._in[key]
        out["store"] = False
        if stream:
            out["stream"] = True
            out["stream_options"] = {"include_obfuscation": False}
        for key in self._in:
            if key not in _READ:
                self._losses.dropped(key, code="unknown_parameter")
        given = present(members(self._in.get("stream_options", {}), "stream_options"))
        sent = Sent(
            requested_model=requested,
            include_usage=stream and flag(given.get("include_usage", False), "stream_options.include_usage"),
            stop=self._stop(),
            expose_thinking=expose,
        )
        return Translated(body=msgspec.json.encode(out), sent=sent, warnings=self._losses.warnings())

    def _refuse_untranslatable(self) -> None:
        """What the Responses API does not have: refused where it would change the answer, else dropped with a
        warning."""
        for key in ("functions", "function_call"):
            if key in self._in:
                raise unsupported(f"'{key}' is not supported with this model. Use 'tools' instead.", key)
        refuse_what_only_chat_has(self._in, self._losses, droppable=("seed", "prediction"))

    def _max_tokens(self, out: Json) -> None:
        key = "max_completion_tokens" if "max_completion_tokens" in self._in else "max_tokens"
        if key not in self._in:
            return
        limit = integer(self._in[key], key, 1)
        if limit < MIN_OUTPUT_TOKENS:
            self._losses.changed_or_refused(
                key, f"'{key}' must be at least {MIN_OUTPUT_TOKENS} with this model.", param=key
            )
            limit = MIN_OUTPUT_TOKENS
        out["max_output_tokens"] = limit

    def _stop(self) -> tuple[str, ...]:
        given = self._in.get("stop", [])
        sequences = [given] if isinstance(given, str) else items(given, "stop")
        for index, sequence in enumerate(sequences):
            if not text(sequence, f"stop[{index}]"):
                raise invalid("A stop sequence must not be empty.", f"stop[{index}]")
        return tuple(sequences)

    def _tools(self, out: Json) -> None:
        tools = [
            _tool(present(members(entry, f"tools[{index}]")), f"tools[{index}]")
            for index, entry in enumerate(items(self._in.get("tools", []), "tools"))
        ]
        if tools:
            out["tools"] = tools
        choice = self._in.get("tool_choice")
        if choice is not None:
            out["tool_choice"] = choice if isinstance(choice, str) else _choice(members(choice, "tool_choice"))

    def _text(self, out: Json) -> None:
        form: Json = {}
        wanted = present(members(self._in.get("response_format", {"type": "text"}), "response_format"))
        kind = required_text(wanted, "type", "response_format")
        if kind == "json_schema":
            if "json_schema" not in wanted:
                raise missing("response_format.json_schema")
            form["format"] = {"type": kind, **members(wanted["json_schema"], "response_format.json_schema")}
        elif kind != "text":
            form["format"] = wanted
        if "verbosity" in self._in:
            form["verbosity"] = self._in["verbosity"]
        if form:
            out["text"] = form

    def _reasoning(self, out: Json, expose: bool) -> None:
        """Nothing is stored with the provider, so reasoning comes encrypted, for the client to keep."""
        reasoning: dict[str, Any] = {}
        if "reasoning_effort" in self._in:
            reasoning["effort"] = self._in["reasoning_effort"]
        if not self._model.rules.efforts:
            out |= {"reasoning": reasoning} if reasoning else {}
            return
        if expose:
            reasoning["summary"] = "auto"
        if reasoning:
            out["reasoning"] = reasoning
        out["include"] = [ENCRYPTED]


def _tool(tool: Json, param: str) -> Json:
    kind = required_text(tool, "type", param)
    if kind not in ("function", "custom"):
        raise invalid(f"Invalid value: '{kind[:64]}'. Supported values are: function, custom.", f"{param}.type")
    if kind not in tool:
        raise missing(f"{param}.{kind}")
    inner = present(members(tool[kind], f"{param}.{kind}"))
    if kind == "function":
        # Chat means `strict: false` where nothing is said, Responses the opposite.
        return {"type": kind, "strict": False, **inner}
    if "format" in inner:
        form = members(inner["format"], f"{param}.custom.format")
        if form.get("type") == "grammar" and isinstance(form.get("grammar"), dict):
            inner["format"] = {"type": "grammar", **form["grammar"]}
    return {"type": kind, **inner}


def _choice(choice: Json) -> Json:
    kind = required_text(choice, "type", "tool_choice")
    inner = choice.get(kind)
    if not isinstance(inner, dict):
        raise missing(f"tool_choice.{kind[:64]}")
    if kind == "allowed_tools":
        named = [
            members(tool, f"tool_choice.allowed_tools.tools[{index}]")
            for index, tool in enumerate(items(inner.get("tools", []), "tool_choice.allowed_tools.tools"))
        ]
        return {"type": kind, "mode": inner.get("mode"), "tools": [_flat(tool) for tool in named]}
    return _flat(choice)


def _flat(named: Json) -> Json:
    """`{type, function: {name}}` as `{type, name}`; another form as it is, for the provider to judge."""
    kind = named.get("type")
    inner = named.get(kind) if isinstance(kind, str) else None
    return {"type": kind, **inner} if isinstance(inner, dict) else named
