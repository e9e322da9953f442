"""A Messages request as a chat completion request: every field of mapping section 2 (reverse), one decision each.

The order of members in the result is fixed, and what the client did not say is not said, but for the usage chunk of a
stream, which the answer in Anthropic's form needs.
"""

import hashlib
from typing import Any

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.chat_to_responses.rule import needs_responses
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
from llm_edge_agent.dialects.messages_to_chat import reasoning, tools
from llm_edge_agent.dialects.messages_to_chat.content import PartReader
from llm_edge_agent.dialects.messages_to_chat.conversation import Conversation
from llm_edge_agent.dialects.messages_to_chat.errors import named
from llm_edge_agent.dialects.messages_to_chat.sent import Sent, Translated

OPENAI = ("openai", "azure-openai")
"""Providers of OpenAI's own models: they take its newest members, others the oldest."""

MAX_STOP = 4
_MAX_IDENTIFIER = 128
_SERVICE_TIERS = {"auto": "auto", "standard_only": "default"}
_READ = frozenset(
    {
        *("model", "messages", "system", "max_tokens", "stop_sequences", "temperature", "top_p", "top_k", "tools"),
        *("tool_choice", "thinking", "output_config", "output_format", "metadata", "service_tier", "stream"),
        *("mcp_servers", "container"),
    }
)
_SILENT = frozenset({"cache_control"})
"""OpenAI's models cache prompts by themselves."""


def translate_request(
    body: bytes, model: Model, options: TranslationOptions, *, upstream_model: str | None = None, ask_usage: bool = True
) -> Translated:
    """The chat completion request for a client's Messages request.

    `upstream_model` is the name to ask the provider for; None: the client's own. `ask_usage` False: the provider
    reports usage unasked and refuses `stream_options`. Raises GatewayError (400 family, `param` naming the place in
    Anthropic's way) for whatever cannot be translated; never another exception, whatever the body.
    """
    try:
        request = decode_object(body)
        if request is None:
            raise GatewayError(ErrorKind.INVALID_JSON, "The request body is not valid JSON.")
        for key in ("model", "messages", "max_tokens"):
            if request.get(key) is None:
                raise missing(key)
        return _Request(present(request), model, options).translate(upstream_model, ask_usage)
    except GatewayError as error:
        raise named(error) from None
    except RecursionError:
        raise GatewayError(ErrorKind.INVALID_JSON, "The request is nested too deeply.") from None


class _Request:
    """One translation under way: `_out` grows member by member."""

    def __init__(self, request: Json, model: Model, options: TranslationOptions) -> None:
        self._in = request
        self._model = model
        self._rules = model.rules
        self._losses = Losses(strict=options.strict)
        self._openai = model.provider in OPENAI

    def translate(self, upstream_model: str | None, ask_usage: bool) -> Translated:
        requested = text(self._in["model"], "model")
        self._refuse_untranslatable()
        names = tools.ToolNames()
        conversation = Conversation(self._model, PartReader(self._model), names, self._losses)
        conversation.read_system(self._in.get("system", ""))
        conversation.read(self._in["messages"])
        thought = reasoning.plan(self._in, self._model, self._losses)

        out: Json = {"model": upstream_model if upstream_model is not None else requested}
        out["messages"] = conversation.messages
        self._max_tokens(out)
        cut = self._stop(out)
        self._sampling(out, thought.effort)
        out |= tools.read_tools(self._in, self._model, names, self._losses)
        if thought.effort is not None:
            out["reasoning_effort"] = thought.effort
        self._format(out)
        self._user(out)
        self._service_tier(out)
        if flag(self._in.get("stream", False), "stream"):
            out["stream"] = True
            if ask_usage:
                out["stream_options"] = {"include_usage": True}
        for key in self._in:
            if key not in _READ and key not in _SILENT:
                self._losses.dropped(key)
        to_responses = needs_responses(out, self._model)
        if not to_responses:
            conversation.without_kept_reasoning()
        sent = Sent(
            requested_model=requested,
            stop_sequences=cut,
            hide_thinking=thought.hidden,
            omit_thinking=thought.omitted,
            tool_names=names.own,
        )
        return Translated(
            body=msgspec.json.encode(out),
            sent=sent,
            warnings=self._losses.warnings(),
            summarized=thought.summarized,
            to_responses=to_responses,
        )

    def _refuse_untranslatable(self) -> None:
        for key in ("mcp_servers", "container"):
            if self._in.get(key):
                raise unsupported(f"'{key}' is not supported with this model.", key)

    def _max_tokens(self, out: Json) -> None:
        limit, bound = integer(self._in["max_tokens"], "max_tokens", 1), self._model.max_output_tokens
        if bound is not None and limit > bound:
            self._losses.changed_or_refused(
                "max_tokens",
                f"max_tokens: {limit} > {bound}, which is the maximum allowed number of output tokens for this model",
                param="max_tokens",
            )
            limit = bound
        newest = self._model.known or self._openai
        out[self._rules.max_tokens_param if newest else "max_tokens"] = limit

    def _stop(self, out: Json) -> tuple[str, ...]:
        """Returns the sequences that the gateway has to apply itself: the model takes none, or not so many."""
        sequences: list[str] = []
        for index, entry in enumerate(items(self._in.get("stop_sequences", []), "stop_sequences")):
            place = f"stop_sequences.{index}"
            if not text(entry, place):
                raise invalid("A stop sequence must not be empty.", place)
            sequences.append(entry)
        if not self._rules.stop_param or len(sequences) > MAX_STOP:
            return tuple(sequences)
        if sequences:
            out["stop"] = sequences
        return ()

    def _sampling(self, out: Json, effort: str | None) -> None:
        """temperature and top_p, as far as the model takes them; top_k never."""
        taken = self._rules.sampling_params and (effort == "none" or not self._rules.sampling_needs_no_effort)
        for key in ("temperature", "top_p"):
            if key not in self._in:
                continue
            value = number(self._in[key], key)
            if not 0 <= as_float(value) <= 1:
                raise invalid(f"Invalid '{key}': expected a value from 0 to 1.", key)
            if taken:
                out[key] = value
            elif as_float(value) != 1:
                self._losses.dropped(key, code="unsupported_value")
        if "top_k" in self._in:
            integer(self._in["top_k"], "top_k", 0)
            self._losses.dropped("top_k")

    def _format(self, out: Json) -> None:
        """The form of the answer; `output_format` is its older name."""
        place = "output_config.format"
        wanted: Any = members(self._in.get("output_config", {}), "output_config").get("format")
        if wanted is None:
            place, wanted = "output_format", self._in.get("output_format")
        if wanted is None:
            return
        wanted = present(members(wanted, place))
        kind = required_text(wanted, "type", place)
        if kind != "json_schema":
            raise invalid(f"Invalid value: '{kind[:64]}'. Supported values are: json_schema.", f"{place}.type")
        if "schema" not in wanted:
            raise missing(f"{place}.schema")
        if not self._rules.structured_outputs:
            raise unsupported("Structured outputs are not supported with this model.", place)
        schema = members(wanted["schema"], f"{place}.schema")
        described = {"name": "output", "schema": schema, "strict": tools.fits_strict(schema)}
        out["response_format"] = {"type": "json_schema", "json_schema": described}

    def _user(self, out: Json) -> None:
        """The end user's id: longer ones than OpenAI takes are hashed, so that they stay distinct."""
        user = text(present(members(self._in.get("metadata", {}), "metadata")).get("user_id", ""), "metadata.user_id")
        if not user:
            return
        if len(user) > _MAX_IDENTIFIER:
            user = hashlib.sha256(user.encode()).hexdigest()
        out["safety_identifier" if self._openai else "user"] = user

    def _service_tier(self, out: Json) -> None:
        tier = text(self._in.get("service_tier", "auto"), "service_tier")
        if tier not in _SERVICE_TIERS:
            known = ", ".join(_SERVICE_TIERS)
            raise invalid(f"Invalid value: '{tier[:64]}'. Supported values are: {known}.", "service_tier")
        if "service_tier" in self._in and self._openai:
            out["service_tier"] = _SERVICE_TIERS[tier]
