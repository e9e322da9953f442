"""POST /v1/messages and /v1/messages/count_tokens: whole messages and streams of events."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from llm_edge_agent.simulator import anthropic_errors, anthropic_prompt, anthropic_rules, prompts, thinking, tokens
from llm_edge_agent.simulator.answers import Answer, answer, thought
from llm_edge_agent.simulator.anthropic_conversation import merged
from llm_edge_agent.simulator.anthropic_shapes import BETA_MEMBERS, COUNT_TOKENS, MESSAGES
from llm_edge_agent.simulator.catalog import AnthropicModel
from llm_edge_agent.simulator.directives import BadDirective, Directives, parse
from llm_edge_agent.simulator.endpoint import Asked, Ready, State
from llm_edge_agent.simulator.pacing import Piece
from llm_edge_agent.simulator.prompt_cache import CacheUse
from llm_edge_agent.simulator.records import Billed
from llm_edge_agent.simulator.shapes import Record
from llm_edge_agent.simulator.wire import named_event, to_json

Body = Mapping[str, Any]

_STOP = {"stop": "end_turn", "calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}


def messages(state: State, asked: Asked, body: Any) -> Ready:
    """Raises Refused."""
    model = _checked(state, asked, body, MESSAGES)
    directives, prompt = _directed(body)
    segments = anthropic_prompt.segments(body)
    prompt_tokens = prompts.prompt_tokens(segments)
    if prompt_tokens > model.context_window:
        raise anthropic_errors.invalid(f"prompt is too long: {prompt_tokens} tokens > {model.context_window} maximum")
    anthropic_errors.raise_directed(directives, state.rng)
    _check_thinking(state, body, model)
    use = state.cache.explicit(model.id, segments, model.min_cacheable_tokens, asked.now_s)
    reasoning = thought(prompt) if anthropic_rules.thinking_on(body, model) else ""
    said = answer(anthropic_prompt.turn(body, directives, prompt, reasoning))
    redacted = directives.think == "redacted"
    reply = Reply(state, body, model, said, prompt_tokens, use, redacted=redacted, pings=directives.pings)
    return Ready(
        body=b"" if body.get("stream") else to_json(reply.whole()),
        pieces=reply.pieces if body.get("stream") else None,
        output_tokens=said.output_tokens,
        hidden_tokens=reply.hidden_tokens,
        bill=reply.bill,
        on_success=lambda: state.cache.remember(use, asked.now_s),
        directives=directives,
    )


def count_tokens(state: State, asked: Asked, body: Any) -> Ready:
    """Raises Refused."""
    _checked(state, asked, body, COUNT_TOKENS)
    directives, _ = _directed(body)
    anthropic_errors.raise_directed(directives, state.rng)
    return Ready(body=to_json({"input_tokens": prompts.prompt_tokens(anthropic_prompt.segments(body))}))


def _directed(body: Body) -> tuple[Directives, str]:
    try:
        return parse(anthropic_prompt.last_user_text(body))
    except BadDirective as bad:
        raise anthropic_errors.invalid(str(bad)) from None


def _checked(state: State, asked: Asked, body: Any, shape: Record) -> AnthropicModel:
    betas = [each.strip() for each in asked.headers.get("anthropic-beta", "").split(",")]
    opened = {
        name: member for name, (beta, member) in BETA_MEMBERS.items() if any(each.startswith(beta) for each in betas)
    }
    if (problem := replace(shape, optional={**shape.optional, **opened}).problem(body, ())) is not None:
        raise anthropic_errors.shape_refusal(problem)
    model = state.catalog.anthropic.get(body["model"])
    if model is None or model.retired:
        raise anthropic_errors.no_such_model(body["model"])
    anthropic_rules.check(body, model, asked.headers["anthropic-version"])
    return model


def _check_thinking(state: State, body: Body, model: AnthropicModel) -> None:
    """Refuses thinking blocks that were not made here, by this model, in this conversation."""
    turns = merged(body["messages"])
    for number, turn in enumerate(turns):
        for position, block in enumerate(turn.blocks):
            if block["type"] not in ("thinking", "redacted_thinking"):
                continue
            shown, signature = (block["thinking"], block["signature"]) if "signature" in block else ("", block["data"])
            where = f"messages.{turn.index}.content.{position}"
            if not thinking.genuine(shown, model.id, signature):
                part = "signature" if "signature" in block else "data"
                raise anthropic_errors.invalid(f"{where}: Invalid `{part}` in `{block['type']}` block")
            before = thinking.conversation_digest(body.get("system"), body.get("tools"), turns[:number])
            if state.settings.bind_thinking_to_prefix and thinking.conversation_of(signature) != before:
                raise anthropic_errors.invalid(
                    f"{where}: `{block['type']}` block is bound to a different conversation. Thinking blocks must be "
                    "passed back with the exact system prompt, tools and messages that preceded them."
                )


class Reply:
    """One answered request, rendered whole or as events."""

    def __init__(
        self,
        state: State,
        body: Body,
        model: AnthropicModel,
        said: Answer,
        prompt_tokens: int,
        use: CacheUse,
        *,
        redacted: bool,
        pings: int = 0,
    ) -> None:
        self.body = body
        self.model = model
        self.said = said
        self.use = use
        self.prompt_tokens = prompt_tokens
        self.pings = pings
        self.id = state.identifier("msg_01", 22)
        display = (body.get("thinking") or {}).get("display")
        shows = display == "summarized" or (display is None and model.shows_thinking)
        self.content: list[dict[str, Any]] = []
        if said.reasoning:
            shown = said.reasoning if shows and not redacted else ""
            conversation = thinking.conversation_digest(body.get("system"), body.get("tools"), merged(body["messages"]))
            signature = thinking.sign(shown, model.id, conversation)
            if redacted:
                self.content.append({"type": "redacted_thinking", "data": signature})
            else:
                self.content.append({"type": "thinking", "thinking": shown, "signature": signature})
        shown_thinking = bool(self.content) and bool(self.content[0].get("thinking"))
        self.hidden_tokens = 0 if shown_thinking else said.reasoning_tokens
        if said.text:
            self.content.append({"type": "text", "text": said.text})
        for call in said.calls:
            self.content.append(
                {
                    "type": "tool_use",
                    "id": state.identifier("toolu_01", 22),
                    "name": call.name,
                    "input": msgspec.json.decode(call.arguments),
                    "caller": {"type": "direct"},
                }
            )

    def bill(self, output_tokens: int, aborted: bool) -> Billed:
        return Billed(
            provider="anthropic",
            model=self.model.id,
            input_tokens=self._uncached(),
            cache_read_tokens=self.use.read,
            cache_write_5m_tokens=self.use.written_5m,
            cache_write_1h_tokens=self.use.written_1h,
            output_tokens=output_tokens,
            reasoning_tokens=min(self.said.reasoning_tokens, output_tokens),
            aborted=aborted,
        )

    def _uncached(self) -> int:
        return self.prompt_tokens - self.use.read - self.use.written_5m - self.use.written_1h

    def _usage(self, output_tokens: int) -> dict[str, Any]:
        return {
            "input_tokens": self._uncached(),
            "cache_creation_input_tokens": self.use.written_5m + self.use.written_1h,
            "cache_read_input_tokens": self.use.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.use.written_5m,
                "ephemeral_1h_input_tokens": self.use.written_1h,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
            "inference_geo": self.body.get("inference_geo") or "global",
        }

    def _message(self, content: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model.id,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
            "diagnostics": None,
            "usage": usage,
        }

    def _final_usage(self) -> dict[str, Any]:
        thought = {"output_tokens_details": {"thinking_tokens": self.said.reasoning_tokens}}
        return self._usage(self.said.output_tokens) | (thought if self.said.reasoning_tokens else {})

    def _ending(self) -> dict[str, Any]:
        reason = _STOP.get(self.said.finish, self.said.finish)
        details = None
        if reason == "refusal":
            details = {
                "type": "refusal",
                "category": "general_harms",
                "explanation": "The request was declined by a safety classifier.",
            }
        return {"stop_reason": reason, "stop_sequence": self.said.stop_sequence, "stop_details": details}

    def whole(self) -> dict[str, Any]:
        return self._message(self.content, self._final_usage()) | self._ending()

    def pieces(self) -> Iterator[Piece]:
        """message_start, each block with a ping in the first (and `pings` before each delta), message_delta,
        message_stop."""
        start = {"type": "message_start", "message": self._message([], self._usage(1))}
        yield Piece(named_event(start), tells="prompt")
        for index, block in enumerate(self.content):
            yield Piece(named_event(_start(index, block)))
            if index == 0:
                yield Piece(named_event({"type": "ping"}))
            for delta, weight in _deltas(block):
                for _ in range(self.pings):
                    yield Piece(named_event({"type": "ping"}))
                yield Piece(named_event({"type": "content_block_delta", "index": index, "delta": delta}), weight)
            yield Piece(named_event({"type": "content_block_stop", "index": index}))
        usage = {key: each for key, each in self._final_usage().items() if key not in _START_ONLY}
        yield Piece(named_event({"type": "message_delta", "delta": self._ending(), "usage": usage}), tells="everything")
        yield Piece(named_event({"type": "message_stop"}))


_START_ONLY = ("cache_creation", "service_tier", "inference_geo")


def _start(index: int, block: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
    }
    return {"type": "content_block_start", "index": index, "content_block": block | empty.get(block["type"], {})}


def _deltas(block: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int]]:
    match block["type"]:
        case "text":
            for part in tokens.split(block["text"]):
                yield {"type": "text_delta", "text": part}, 1
        case "thinking":
            for part in tokens.split(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": part}, 1
            yield {"type": "signature_delta", "signature": block["signature"]}, 0
        case "tool_use":
            yield {"type": "input_json_delta", "partial_json": ""}, tokens.count(block["name"])
            if block["input"]:
                for part in tokens.split(to_json(block["input"]).decode()):
                    yield {"type": "input_json_delta", "partial_json": part}, 1
