"""POST /v1/chat/completions: whole answers and streams of chunks."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from llm_edge_agent.simulator import openai_errors, openai_prompt, openai_rules, prompts, tokens
from llm_edge_agent.simulator.answers import Answer, Call, answer, declining, seeded
from llm_edge_agent.simulator.catalog import OpenAIModel
from llm_edge_agent.simulator.directives import BadDirective, parse
from llm_edge_agent.simulator.endpoint import Asked, Ready, State
from llm_edge_agent.simulator.openai_rules import served_tier
from llm_edge_agent.simulator.openai_shapes import CHAT
from llm_edge_agent.simulator.pacing import Piece
from llm_edge_agent.simulator.prompt_cache import CacheUse
from llm_edge_agent.simulator.records import Billed
from llm_edge_agent.simulator.wire import data_event, to_json

Body = Mapping[str, Any]

_FINISH = {
    "stop": "stop",
    "stop_sequence": "stop",
    "calls": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
    "refusal": "stop",
    "pause_turn": "stop",
    "model_context_window_exceeded": "length",
}
_OBFUSCATED_SIZE = 16
"""Chunks are padded so that their size says little of the text they carry."""


def chat(state: State, asked: Asked, body: Any) -> Ready:
    """Raises Refused."""
    if isinstance(body, dict) and "model" not in body:
        raise openai_errors.invalid("you must provide a model parameter")
    if (problem := CHAT.problem(body, ())) is not None:
        raise openai_errors.shape_refusal(problem)
    model = find_chat_model(state, body["model"])
    try:
        directives, prompt = parse(openai_prompt.last_user_text(body))
    except BadDirective as bad:
        raise openai_errors.invalid(str(bad), "messages") from None
    openai_rules.check(body, model)
    segments = openai_prompt.segments(body)
    prompt_tokens = prompts.prompt_tokens(segments)
    if prompt_tokens > model.context_window:
        raise openai_errors.invalid(
            f"This model's maximum context length is {model.context_window} tokens. However, your messages resulted "
            f"in {prompt_tokens} tokens. Please reduce the length of the messages.",
            "messages",
            "context_length_exceeded",
        )
    openai_errors.raise_directed(directives, model.id, state.rng)
    use = state.cache.implicit(model.id, segments, prompt_tokens, asked.now_s)
    turns = openai_prompt.turns(body, model, directives, prompt)
    answers = [declining(answer(turn), openai_prompt.REFUSAL) for turn in turns]
    completion = Completion(state, asked, body, model, answers, prompt_tokens, use)
    return Ready(
        body=b"" if body.get("stream") else to_json(completion.whole()),
        pieces=completion.pieces if body.get("stream") else None,
        output_tokens=completion.output_tokens,
        hidden_tokens=completion.reasoning_tokens,
        bill=completion.bill,
        on_success=lambda: state.cache.remember(use, asked.now_s),
        directives=directives,
    )


def find_chat_model(state: State, name: str) -> OpenAIModel:
    model = state.catalog.openai.get(name)
    if model is None or model.mode == "embedding":
        raise openai_errors.no_such_model(name)
    if model.retired:
        raise openai_errors.invalid(
            f"The model `{name}` has been deprecated, learn more here: https://platform.openai.com/docs/deprecations",
            code="model_not_found",
            status=404,
        )
    if model.mode == "responses":
        message = "This model is only supported in v1/responses and not in v1/chat/completions."
        raise openai_errors.invalid(message, "model", status=404)
    return model


class Completion:
    """One answered request, rendered whole or as chunks."""

    def __init__(
        self,
        state: State,
        asked: Asked,
        body: Body,
        model: OpenAIModel,
        answers: Sequence[Answer],
        prompt_tokens: int,
        use: CacheUse,
    ) -> None:
        self.body = body
        self.model = model
        self.answers = answers
        self.prompt_tokens = prompt_tokens
        self.use = use
        self.reasoning_tokens = sum(each.reasoning_tokens for each in answers)
        self.output_tokens = sum(each.output_tokens for each in answers)
        self.call_ids = [[state.identifier("call_", 24) for _ in each.calls] for each in answers]
        self.audio_id = state.identifier("audio_", 32)
        self.expires_at = int(asked.unix_s) + 3600
        self.padding = state.identifier("", _OBFUSCATED_SIZE)
        self.head: dict[str, Any] = {
            "id": state.identifier("chatcmpl-", 29),
            "created": int(asked.unix_s),
            "model": model.id,
            "service_tier": served_tier(body),
            "system_fingerprint": f"fp_{seeded(model.id) & 0xFFFFFFFFFF:010x}",
        }

    def bill(self, output_tokens: int, aborted: bool) -> Billed:
        written = self.use.written_5m if self.model.bills_cache_writes else 0
        return Billed(
            provider="openai",
            model=self.model.id,
            input_tokens=self.prompt_tokens - self.use.read - written,
            cache_read_tokens=self.use.read,
            cache_write_5m_tokens=written,
            output_tokens=output_tokens,
            reasoning_tokens=min(self.reasoning_tokens, output_tokens),
            service_tier=self.head["service_tier"],
            aborted=aborted,
        )

    def usage(self) -> dict[str, Any]:
        details = {"cached_tokens": self.use.read, "audio_tokens": 0}
        if self.model.bills_cache_writes:
            details["cache_write_tokens"] = self.use.written_5m
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.prompt_tokens + self.output_tokens,
            "prompt_tokens_details": details,
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def whole(self) -> dict[str, Any]:
        whole = {
            **self.head,
            "object": "chat.completion",
            "choices": [self._choice(index, each) for index, each in enumerate(self.answers)],
            "usage": self.usage(),
        }
        if self.body.get("store") and self.body.get("metadata"):
            whole["metadata"] = self.body["metadata"]
        return whole

    def _choice(self, index: int, said: Answer) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": None, "annotations": []}
        if said.finish == "refusal":
            message |= {"content": None, "refusal": said.text}
        elif said.calls and "functions" in self.body:
            call = said.calls[0]
            message |= {"content": None, "function_call": {"name": call.name, "arguments": call.arguments}}
        elif said.calls:
            ids = self.call_ids[index]
            message |= {
                "content": None,
                "tool_calls": [_call(each, ids[position]) for position, each in enumerate(said.calls)],
            }
        elif self._speaks():
            message |= {"content": None, "audio": self._audio(said.text)}
        elif self.body.get("web_search_options") is not None:
            message["annotations"] = [_citation(said.text)]
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(said.text),
            "finish_reason": self._finish(said),
        }

    def _speaks(self) -> bool:
        return "audio" in (self.body.get("modalities") or ())

    def _audio(self, text: str) -> dict[str, Any]:
        """Silence as long as the text, with the text as its transcript."""
        data = base64.b64encode(bytes(len(text))).decode()
        return {"id": self.audio_id, "data": data, "expires_at": self.expires_at, "transcript": text}

    def _finish(self, said: Answer) -> str:
        if said.finish == "calls" and "functions" in self.body:
            return "function_call"
        return _FINISH[said.finish]

    def _logprobs(self, text: str) -> dict[str, Any] | None:
        if not self.body.get("logprobs"):
            return None
        most = self.body.get("top_logprobs") or 0
        return {"content": [_logprob(each, most) for each in tokens.split(text)], "refusal": None}

    def pieces(self) -> Iterator[Piece]:
        """The chunks: role, content, finish for each choice (the choices interleaved), usage if asked, [DONE]."""
        options = self.body.get("stream_options") or {}
        with_usage = bool(options.get("include_usage"))
        obfuscated = options.get("include_obfuscation", True)
        head: dict[str, Any] = {**self.head, "object": "chat.completion.chunk"}
        tail = {"usage": None} if with_usage else {}

        def chunk(choice: dict[str, Any], weight: int) -> Piece:
            event = {**head, "choices": [choice], **tail}
            if obfuscated:
                carried = len(str(choice["delta"]))
                event["obfuscation"] = self.padding[: _OBFUSCATED_SIZE - carried % _OBFUSCATED_SIZE]
            return Piece(data_event(event), weight)

        streams = [self._deltas(index, each) for index, each in enumerate(self.answers)]
        for each_round in zip_longest(*streams):
            for entry in each_round:
                if entry is not None:
                    yield chunk(*entry)
        if with_usage:
            yield Piece(data_event({**head, "choices": [], "usage": self.usage()}), tells="everything")
        yield Piece(b"data: [DONE]\n\n")

    def _deltas(self, index: int, said: Answer) -> Iterator[tuple[dict[str, Any], int]]:
        def choice(delta: dict[str, Any], finish: str | None = None, text: str | None = None) -> dict[str, Any]:
            logprobs = None if text is None else self._logprobs(text)
            return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

        calls = said.calls
        opening: dict[str, Any] = {"role": "assistant", "content": None if calls else "", "refusal": None}
        if said.finish == "refusal":
            yield choice(opening), 0
            for part in tokens.split(said.text):
                yield choice({"refusal": part}), 1
        elif calls and "functions" in self.body:
            call = calls[0]
            opening["function_call"] = {"name": call.name, "arguments": ""}
            yield choice(opening), tokens.count(call.name)
            for part in tokens.split(call.arguments):
                yield choice({"function_call": {"arguments": part}}), 1
        elif calls:
            yield choice(opening), 0
            for position, call in enumerate(calls):
                yield from self._call_deltas(choice, call, position, self.call_ids[index][position])
        elif self._speaks():
            yield choice(opening | {"audio": {"id": self.audio_id}}), 0
            for part in tokens.split(said.text):
                data = base64.b64encode(bytes(len(part))).decode()
                yield choice({"audio": {"transcript": part, "data": data}}), 1
            yield choice({"audio": {"expires_at": self.expires_at}}), 0
        else:
            yield choice(opening), 0
            for part in tokens.split(said.text):
                yield choice({"content": part}, text=part), 1
        yield choice({}, self._finish(said)), 0

    def _call_deltas(
        self, choice: Any, call: Call, position: int, call_id: str
    ) -> Iterator[tuple[dict[str, Any], int]]:
        field = "arguments" if call.kind == "function" else "input"
        first = {"index": position, "id": call_id, "type": call.kind, call.kind: {"name": call.name, field: ""}}
        yield choice({"tool_calls": [first]}), tokens.count(call.name)
        for part in tokens.split(call.arguments):
            yield choice({"tool_calls": [{"index": position, call.kind: {field: part}}]}), 1


def _call(call: Call, call_id: str) -> dict[str, Any]:
    field = "arguments" if call.kind == "function" else "input"
    return {"id": call_id, "type": call.kind, call.kind: {"name": call.name, field: call.arguments}}


def _citation(text: str) -> dict[str, Any]:
    return {
        "type": "url_citation",
        "url_citation": {"start_index": 0, "end_index": len(text), "title": "Example", "url": "https://example.com/"},
    }


def _logprob(token: str, most: int) -> dict[str, Any]:
    own = {"token": token, "logprob": -0.01, "bytes": list(token.encode("utf-8", "replace"))}
    others = [
        {"token": f"{token}{rank}", "logprob": -5.0 - rank, "bytes": list(f"{token}{rank}".encode("utf-8", "replace"))}
        for rank in range(1, most)
    ]
    return {**own, "top_logprobs": [own, *others] if most else []}
