"""A chat completion request as a Messages request: every field of mapping section 2, one decision each.

The order of members in the result is fixed, and what the client did not say is not said: the same chat prefix always
gives the same bytes.
"""

import hashlib
import re
from typing import Any

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_only import refuse_what_only_chat_has
from llm_edge_agent.dialects.chat_to_messages import breakpoints, reasoning, structured, tools
from llm_edge_agent.dialects.chat_to_messages.content import PartReader, limit_cache_markers
from llm_edge_agent.dialects.chat_to_messages.conversation import Conversation
from llm_edge_agent.dialects.chat_to_messages.sent import Sent, Translated, TranslationOptions
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
)

OLD_VERSION = "2023-06-01"
"""The last anthropic-version that takes sampling parameters at all."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE = re.compile(r"\+?[0-9][0-9 ().\-]{5,}[0-9]")
_MAX_USER_ID = 256

_SERVICE_TIERS = {
    "auto": "auto",
    "default": "standard_only",
    "standard_only": "standard_only",
    "priority": "auto",
    "fast": "auto",
}
_NATIVE = ("container", "context_management", "inference_geo", "mcp_servers", "speed", "cache_control")
"""Anthropic's own members that pass as they are; `thinking`, `output_config`, `system`, `top_k` and `service_tier`
are read where their chat neighbours are."""

_NATIVE_BETAS = {
    "context_management": "context-management-2025-06-27",
    "mcp_servers": "mcp-client-2025-11-20",
    "speed": "fast-mode-2026-02-01",
}
_READ = frozenset(
    {
        *("model", "messages", "max_completion_tokens", "max_tokens", "temperature", "top_p", "top_k", "stop"),
        *("stream", "stream_options", "n", "tools", "tool_choice", "parallel_tool_calls", "functions"),
        *("function_call", "response_format", "reasoning_effort", "include_reasoning", "user", "safety_identifier"),
        *("service_tier", "thinking", "output_config", "system", "modalities", "prompt_cache_options", *_NATIVE),
        *("logprobs", "top_logprobs", "logit_bias", "frequency_penalty", "presence_penalty", "store", "verbosity"),
        *("seed", "prediction", "moderation", "audio", "web_search_options"),
    }
)
_SILENT = frozenset({"metadata", "prompt_cache_key", "prompt_cache_retention"})
"""Say nothing about the answer: tags for the gateway's own records, affinity, and a wish for caching."""


def translate_request(
    body: bytes, model: Model, options: TranslationOptions, *, upstream_model: str | None = None
) -> Translated:
    """The Messages request for a client's chat completion request.

    `upstream_model` is the name to ask the provider for; None: the client's own. Raises GatewayError (400 family,
    `param` naming the place) for whatever cannot be translated; never another exception, whatever the body.
    """
    try:
        request = decode_object(body)
        if request is None:
            raise GatewayError(ErrorKind.INVALID_JSON, "We could not parse the JSON body of your request.")
        given = present(request)
        given |= {key: request[key] for key in ("model", "messages") if key in request}  # null is no default for these
        return _Request(given, model, options, len(body)).translate(upstream_model)
    except RecursionError:
        raise GatewayError(ErrorKind.INVALID_JSON, "The request is nested too deeply.") from None


class _Request:
    """One translation under way: `_out` grows member by member."""

    def __init__(self, request: Json, model: Model, options: TranslationOptions, body_bytes: int) -> None:
        self._in = request
        self._body_bytes = body_bytes
        self._model = model
        self._rules = model.rules
        self._options = options
        self._losses = Losses(strict=options.strict)
        self._betas: dict[str, None] = {}
        self._system_lines: list[str] = []

    def translate(self, upstream_model: str | None) -> Translated:
        requested = self._required("model")
        self._refuse_untranslatable()
        stream = self._flag("stream", False)
        parts = PartReader(self._model, self._losses, self._cache_ttl())
        conversation = Conversation(self._model, parts, self._losses)
        conversation.read(self._in["messages"])
        plan = tools.read_tools(self._in, self._model, parts, self._losses)
        custom, legacy = plan.custom, plan.legacy
        answer_form = structured.response_format(self._in, self._model, plan, self._losses)
        if answer_form.line is not None:
            self._system_lines.append(answer_form.line)
        if not plan.tools and conversation.tool_names:
            plan = tools.stubs(conversation.tool_names)
        conversation.finish(prefill=self._rules.assistant_prefill and answer_form.format is None)
        thought = self._reasoning(plan, answer_form, conversation)
        thought, max_tokens = self._max_tokens(stream, thought)
        self._soften_choice(plan, thought)
        system = self._system(conversation)
        marked = self._limit_markers(plan, system, conversation)
        cached = self._prompt_cache(plan, system, conversation, marked=marked)

        out: Json = {"model": upstream_model if upstream_model is not None else requested, "max_tokens": max_tokens}
        if system:
            out["system"] = system
        if plan.tools:
            out["tools"] = plan.tools
        if plan.choice is not None:
            out["tool_choice"] = plan.choice
        out["messages"] = conversation.messages
        self._thinking(out, thought, answer_form.format)
        self._sampling(out, thought.on)
        self._stop(out)
        self._user(out)
        self._service_tier(out)
        self._natives(out)
        if stream:
            out["stream"] = True
        self._unknown()
        sent = Sent(
            requested_model=requested,
            include_usage=stream and self._stream_option("include_usage"),
            legacy_function_call=legacy,
            custom_tools=custom,
            schema_tool=answer_form.tool,
            expose_thinking=self._shows_thinking(),
            tool_ids=conversation.tool_ids,
        )
        betas = tuple({**parts.betas, **self._betas})
        return Translated(
            body=msgspec.json.encode(out),
            sent=sent,
            warnings=self._losses.warnings(),
            betas=betas,
            breakpoints=cached,
        )

    def _required(self, key: str) -> str:
        for name in ("model", "messages"):
            if name not in self._in:
                raise missing(name)
        return text(self._in[key], key)

    def _flag(self, key: str, default: bool) -> bool:
        return flag(self._in.get(key, default), key)

    def _refuse_untranslatable(self) -> None:
        """What has no counterpart: refused where it would change the answer, else dropped with a warning."""
        droppable = ("verbosity", "seed", "prediction", "moderation")
        refuse_what_only_chat_has(self._in, self._losses, droppable=droppable)

    def _cache_ttl(self) -> str | None:
        """The ttl that breakpoints without one inherit."""
        caching = members(self._in.get("prompt_cache_options", {}), "prompt_cache_options")
        ttl = caching.get("ttl")
        return None if ttl is None else text(ttl, "prompt_cache_options.ttl")

    def _stream_option(self, key: str) -> bool:
        given = present(members(self._in.get("stream_options", {}), "stream_options"))
        return flag(given.get(key, False), f"stream_options.{key}")

    def _shows_thinking(self) -> bool:
        return self._flag("include_reasoning", self._options.expose_thinking)

    def _reasoning(
        self, plan: tools.ToolPlan, answer_form: structured.AnswerForm, conversation: Conversation
    ) -> reasoning.Reasoning:
        effort = self._in.get("reasoning_effort")
        native = self._in.get("thinking")
        wish = reasoning.Wish(
            effort=None if effort is None else text(effort, "reasoning_effort"),
            forced_tool=plan.forced and self._rules.forced_tool_choice and native is None,
            must_not_think=answer_form.tool is not None or conversation.holds_back_thinking(),
            show=self._shows_thinking(),
        )
        planned = reasoning.plan(wish, self._model, self._losses)
        if native is None:
            return planned
        thinking = members(native, "thinking")
        kind = required_text(thinking, "type", "thinking")
        return planned._replace(thinking=thinking, on=kind != "disabled")

    def _max_tokens(self, stream: bool, thought: reasoning.Reasoning) -> tuple[reasoning.Reasoning, int]:
        options, bound = self._options, self._model.max_output_tokens
        key = "max_completion_tokens" if "max_completion_tokens" in self._in else "max_tokens"
        chosen = key in self._in
        if chosen:
            limit = integer(self._in[key], key, 1)
            if bound is not None and limit > bound:
                self._losses.changed_or_refused(
                    "max_tokens",
                    f"'{key}' is too large: {limit}. This model supports at most {bound} output tokens.",
                    param=key,
                    code="integer_above_max_value",
                )
                limit = bound
        else:
            limit = options.default_max_tokens_stream if stream else options.default_max_tokens
            limit = limit if bound is None else min(bound, limit)
        if "thinking" in self._in:
            return thought, limit
        return reasoning.fit_budget(thought, limit, chosen=chosen, model=self._model, losses=self._losses)

    def _soften_choice(self, plan: tools.ToolPlan, thought: reasoning.Reasoning) -> None:
        """A forced choice that the model refuses becomes a request in words."""
        taken = self._rules.forced_tool_choice and not thought.on
        if plan.forced and not taken:
            self._system_lines.append(tools.soften(plan, self._losses))

    def _system(self, conversation: Conversation) -> list[Json]:
        native = self._in.get("system", [])
        if isinstance(native, str):
            native = [{"type": "text", "text": native}] if native.strip() else []
        blocks = [dict(members(block, f"system[{index}]")) for index, block in enumerate(items(native, "system"))]
        lines = [{"type": "text", "text": line} for line in self._system_lines]
        return [*blocks, *conversation.system, *lines]

    def _limit_markers(self, plan: tools.ToolPlan, system: list[Json], conversation: Conversation) -> bool:
        """Whether the client set any."""
        holders = [*plan.tools, *system]
        for message in conversation.messages:
            for block in message["content"]:
                inner = block.get("content")
                holders += inner if isinstance(inner, list) else []
                holders.append(block)
        return limit_cache_markers(holders, 1 if "cache_control" in self._in else 0, self._losses)

    def _prompt_cache(
        self, plan: tools.ToolPlan, system: list[Json], conversation: Conversation, *, marked: bool
    ) -> bool:
        """Sets our own breakpoints, unless the client has its own or says that it wants no others."""
        explicit = members(self._in.get("prompt_cache_options", {}), "prompt_cache_options").get("mode") == "explicit"
        if not self._options.prompt_cache or marked or explicit:
            return False
        minimum = self._rules.min_cacheable_tokens
        if not breakpoints.worth_marking(self._body_bytes, minimum, plan.tools, conversation.messages):
            return False
        breakpoints.place(plan.tools, system, conversation.messages)
        return True

    def _thinking(self, out: Json, thought: reasoning.Reasoning, form: Json | None) -> None:
        if thought.thinking is not None:
            out["thinking"] = thought.thinking
        native = members(self._in.get("output_config", {}), "output_config")
        config: dict[str, Any] = {}
        if thought.effort is not None:
            config["effort"] = thought.effort
        if form is not None:
            config["format"] = form
        config |= native
        if config:
            out["output_config"] = config

    def _sampling(self, out: Json, thinking: bool) -> None:
        """temperature, top_p and top_k, as far as version and model take them."""
        taken = self._rules.sampling_params and self._options.anthropic_version == OLD_VERSION
        if "temperature" in self._in:
            temperature = number(self._in["temperature"], "temperature")
            size = as_float(temperature)
            if not 0 <= size <= 2:
                code = "decimal_below_min_value" if size < 0 else "decimal_above_max_value"
                raise invalid("Invalid 'temperature': expected a value from 0 to 2.", "temperature", code)
            if not taken or thinking:
                self._lose_sampling("temperature", neutral=size == 1)
            elif size > 1:
                self._losses.changed("temperature")
                out["temperature"] = 1
            else:
                out["temperature"] = temperature
        if "top_p" in self._in:
            top_p = number(self._in["top_p"], "top_p")
            size = as_float(top_p)
            crowded = "temperature" in out and not self._rules.temperature_and_top_p
            if not taken or crowded or (thinking and size < 0.95):
                self._lose_sampling("top_p", neutral=size == 1)
            else:
                out["top_p"] = top_p
        if "top_k" in self._in:
            top_k = integer(self._in["top_k"], "top_k", 0)
            if not taken or thinking:
                self._lose_sampling("top_k", neutral=False)
            else:
                out["top_k"] = top_k

    def _lose_sampling(self, field: str, *, neutral: bool) -> None:
        if not neutral:
            self._losses.dropped(field, code="unsupported_value")

    def _stop(self, out: Json) -> None:
        given = self._in.get("stop", [])
        sequences = [given] if isinstance(given, str) else items(given, "stop")
        kept: list[str] = []
        for index, sequence in enumerate(sequences):
            if text(sequence, f"stop[{index}]").strip():
                kept.append(sequence)
            else:
                self._losses.dropped("stop")
        if kept:
            out["stop_sequences"] = kept

    def _user(self, out: Json) -> None:
        """Anthropic forbids identifying data: what looks like an address or a number is hashed."""
        for key in ("safety_identifier", "user"):
            user = text(self._in.get(key, ""), key)
            if not user:
                continue
            if len(user) > _MAX_USER_ID or _EMAIL.search(user) or _PHONE.fullmatch(user.strip()):
                user = hashlib.sha256(user.encode()).hexdigest()
            out["metadata"] = {"user_id": user}
            return

    def _service_tier(self, out: Json) -> None:
        if "service_tier" not in self._in:
            return
        tier = text(self._in["service_tier"], "service_tier")
        if tier in _SERVICE_TIERS:
            out["service_tier"] = _SERVICE_TIERS[tier]
        elif tier in ("flex", "scale"):
            self._losses.dropped("service_tier")
        else:
            known = ", ".join((*_SERVICE_TIERS, "flex", "scale"))
            raise invalid(f"Invalid value: '{tier[:64]}'. Supported values are: {known}.", "service_tier")

    def _natives(self, out: Json) -> None:
        for key in _NATIVE:
            if key in self._in:
                out[key] = self._in[key]
                if key in _NATIVE_BETAS:
                    self._betas[_NATIVE_BETAS[key]] = None

    def _unknown(self) -> None:
        for key in self._in:
            if key not in _READ and key not in _SILENT:
                self._losses.dropped(key, code="unknown_parameter")
