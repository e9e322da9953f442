"""One response of OpenAI's Responses API, rendered whole or as its sequence of named events."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from llm_edge_agent.simulator import tokens
from llm_edge_agent.simulator.answers import Answer, Call
from llm_edge_agent.simulator.catalog import OpenAIModel
from llm_edge_agent.simulator.endpoint import Asked, State
from llm_edge_agent.simulator.openai_responses_rules import effective_effort
from llm_edge_agent.simulator.openai_rules import schema_problem, served_tier
from llm_edge_agent.simulator.openai_sealed_reasoning import seal
from llm_edge_agent.simulator.pacing import Piece
from llm_edge_agent.simulator.prompt_cache import CacheUse
from llm_edge_agent.simulator.records import Billed
from llm_edge_agent.simulator.wire import named_event

Body = Mapping[str, Any]
Event = dict[str, Any]

_INCOMPLETE = {
    "length": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "content_filter": "content_filter",
}
_OBFUSCATED_SIZE = 16
_FAILURE = {
    "code": "server_error",
    "message": "An error occurred while processing your request. You can retry your request.",
}


class Reply:
    """One answered request. `thought` is what the reasoning summary says."""

    def __init__(
        self,
        state: State,
        asked: Asked,
        body: Body,
        model: OpenAIModel,
        said: Answer,
        thought: str,
        input_tokens: int,
        use: CacheUse,
    ) -> None:
        self.body = body
        self.model = model
        self.said = said
        self.use = use
        self.input_tokens = input_tokens
        self.id = state.identifier("resp_", 48)
        self.created_s = int(asked.unix_s)
        self.padding = state.identifier("", _OBFUSCATED_SIZE)
        self.incomplete = _INCOMPLETE.get(said.finish)
        self.numbered = 0
        """Events made so far; the next has this sequence number."""
        included = body.get("include") or ()
        self._shows_sealed = "reasoning.encrypted_content" in included
        self._shows_logprobs = "message.output_text.logprobs" in included
        self.output: list[Event] = []
        if said.reasoning_tokens:
            summarised = (body.get("reasoning") or {}).get("summary") or (body.get("reasoning") or {}).get(
                "generate_summary"
            )
            item: Event = {"id": state.identifier("rs_", 48), "type": "reasoning"}
            item["summary"] = [{"type": "summary_text", "text": thought}] if summarised else []
            self._sealed = seal(thought, said.reasoning_tokens)
            if self._shows_sealed:
                item["encrypted_content"] = self._sealed
            self.output.append(item)
        self.output += [_call(state, call) for call in said.calls]
        if said.text:
            self.output.append(self._message(state.identifier("msg_", 48)))

    def _message(self, item_id: str) -> Event:
        if self.said.finish == "refusal":
            part: Event = {"type": "refusal", "refusal": self.said.text}
        else:
            part = {
                "type": "output_text",
                "annotations": [],
                "logprobs": self._logprobs(self.said.text),
                "text": self.said.text,
            }
        status = "incomplete" if self.incomplete else "completed"
        return {"id": item_id, "type": "message", "status": status, "content": [part], "role": "assistant"}

    def _logprobs(self, text: str) -> list[Event]:
        if not self._shows_logprobs:
            return []
        most = self.body.get("top_logprobs") or 0
        return [_logprob(token, most) for token in tokens.split(text)]

    def sealed_output(self) -> list[Event]:
        """The output as it is kept for the next turn: reasoning with its encrypted content."""
        return [
            item | {"encrypted_content": self._sealed} if item["type"] == "reasoning" else item for item in self.output
        ]

    def bill(self, output_tokens: int, aborted: bool) -> Billed:
        written = self._written()
        return Billed(
            provider="openai",
            model=self.model.id,
            input_tokens=self.input_tokens - self.use.read - written,
            cache_read_tokens=self.use.read,
            cache_write_5m_tokens=written,
            output_tokens=output_tokens,
            reasoning_tokens=min(self.said.reasoning_tokens, output_tokens),
            service_tier=served_tier(self.body),
            aborted=aborted,
        )

    def _written(self) -> int:
        return self.use.written_5m if self.model.bills_cache_writes else 0

    def _usage(self) -> Event:
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.use.read, "cache_write_tokens": self._written()},
            "output_tokens": self.said.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.said.reasoning_tokens},
            "total_tokens": self.input_tokens + self.said.output_tokens,
        }

    def _response(self, status: str, output: list[Event], **members: Any) -> Event:
        body, model = self.body, self.model
        reasoning = body.get("reasoning") or {}
        text = body.get("text") or {}
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_s,
            "status": status,
            "background": False,
            "completed_at": self.created_s if status == "completed" else None,
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "max_tool_calls": body.get("max_tool_calls"),
            "model": model.id,
            "output": output,
            "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
            "previous_response_id": body.get("previous_response_id"),
            "prompt_cache_key": body.get("prompt_cache_key"),
            "prompt_cache_retention": body.get("prompt_cache_retention"),
            "reasoning": {
                "effort": effective_effort(body, model) if model.efforts else None,
                "summary": reasoning.get("summary"),
            },
            "safety_identifier": body.get("safety_identifier"),
            "service_tier": "auto",
            "store": body.get("store") is not False,
            "temperature": body.get("temperature", 1.0),
            "text": {
                "format": text.get("format") or {"type": "text"},
                "verbosity": text.get("verbosity") or "medium",
            },
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": [_as_taken(tool) for tool in body.get("tools") or ()],
            "top_logprobs": body.get("top_logprobs") or 0,
            "top_p": body.get("top_p", 1.0),
            "truncation": body.get("truncation") or "disabled",
            "usage": None,
            "user": body.get("user"),
            "metadata": body.get("metadata") or {},
            **members,
        }

    def whole(self) -> Event:
        tier = served_tier(self.body)
        if self.incomplete:
            why = {"reason": self.incomplete}
            return self._response(
                "incomplete", self.output, incomplete_details=why, usage=self._usage(), service_tier=tier
            )
        return self._response("completed", self.output, usage=self._usage(), service_tier=tier)

    def error_event(self) -> bytes:
        """What a stream says when the service fails midway."""
        return self._event("error", **_FAILURE, param=None).data

    def failed_event(self) -> bytes:
        """What a stream says when the model fails midway."""
        return self._event("response.failed", response=self._response("failed", [], error=_FAILURE)).data

    def pieces(self) -> Iterator[Piece]:
        """Created, in progress, each item from `added` to `done`, then completed or incomplete."""
        self.numbered = 0
        for name in ("response.created", "response.in_progress"):
            yield self._event(name, response=self._response("in_progress", []))
        for index, item in enumerate(self.output):
            yield self._event("response.output_item.added", output_index=index, item=_begun(item))
            place = {"item_id": item["id"], "output_index": index}
            match item["type"]:
                case "reasoning":
                    yield from self._summary(item, place)
                case "message":
                    yield from self._content(item["content"][0], {**place, "content_index": 0})
                case "function_call":
                    yield from self._arguments(item, place, "function_call_arguments", "arguments")
                case _:
                    yield from self._arguments(item, place, "custom_tool_call_input", "input")
            yield self._event("response.output_item.done", output_index=index, item=item)
        last = self._event("response.incomplete" if self.incomplete else "response.completed", response=self.whole())
        yield replace(last, tells="everything")

    def _event(self, name: str, /, **members: Any) -> Piece:
        event = {"type": name, "sequence_number": self.numbered, **members}
        self.numbered += 1
        return Piece(named_event(event))

    def _delta(self, name: str, delta: str, place: Event, weight: int) -> Piece:
        options = self.body.get("stream_options") or {}
        if options.get("include_obfuscation", True):
            place = {**place, "obfuscation": self.padding[: _OBFUSCATED_SIZE - len(delta)]}
        return Piece(self._event(name, **place, delta=delta).data, weight)

    def _summary(self, item: Event, place: Event) -> Iterator[Piece]:
        """The tokens of the summary are not those of the reasoning: its deltas weigh nothing."""
        for index, part in enumerate(item["summary"]):
            at = {**place, "summary_index": index}
            empty = {**part, "text": ""}
            yield self._event("response.reasoning_summary_part.added", **at, part=empty)
            for token in tokens.split(part["text"]):
                yield self._delta("response.reasoning_summary_text.delta", token, at, 0)
            yield self._event("response.reasoning_summary_text.done", **at, text=part["text"])
            yield self._event("response.reasoning_summary_part.done", **at, part=part)

    def _content(self, part: Event, place: Event) -> Iterator[Piece]:
        field = "text" if part["type"] == "output_text" else "refusal"
        empty = {**part, field: ""} | ({"logprobs": []} if field == "text" else {})
        yield self._event("response.content_part.added", **place, part=empty)
        name = "output_text" if field == "text" else "refusal"
        for token in tokens.split(part[field]):
            extra = {"logprobs": self._logprobs(token)} if field == "text" else {}
            yield self._delta(f"response.{name}.delta", token, {**place, **extra}, 1)
        done = {field: part[field]} | ({"logprobs": part["logprobs"]} if field == "text" else {})
        yield self._event(f"response.{name}.done", **place, **done)
        yield self._event("response.content_part.done", **place, part=part)

    def _arguments(self, item: Event, place: Event, name: str, field: str) -> Iterator[Piece]:
        weight = 1 + tokens.count(item["name"])
        for token in tokens.split(item[field]):
            yield self._delta(f"response.{name}.delta", token, place, weight)
            weight = 1
        named = {"name": item["name"]} if field == "arguments" else {}
        yield self._event(f"response.{name}.done", **place, **named, **{field: item[field]})


def _call(state: State, call: Call) -> Event:
    call_id = state.identifier("call_", 24)
    if call.kind == "custom":
        return {
            "id": state.identifier("ctc_", 48),
            "type": "custom_tool_call",
            "status": "completed",
            "call_id": call_id,
            "input": call.arguments,
            "name": call.name,
        }
    return {
        "id": state.identifier("fc_", 48),
        "type": "function_call",
        "status": "completed",
        "arguments": call.arguments,
        "call_id": call_id,
        "name": call.name,
    }


def _begun(item: Event) -> Event:
    """An item as it is announced: nothing of it said yet."""
    empty: dict[str, Event] = {
        "reasoning": {"summary": []},
        "message": {"status": "in_progress", "content": []},
        "function_call": {"status": "in_progress", "arguments": ""},
        "custom_tool_call": {"status": "in_progress", "input": ""},
    }
    return item | empty[item["type"]]


def _as_taken(tool: Body) -> Body:
    """A function as the API repeats it: strict by itself where its schema allows."""
    if tool["type"] != "function":
        return tool
    parameters = tool.get("parameters")
    strict = tool.get("strict")
    if strict is None:
        strict = parameters is not None and schema_problem(parameters, True) is None
    return {"description": None, **tool, "parameters": parameters, "strict": strict}


def _logprob(token: str, most: int) -> Event:
    own = {"token": token, "logprob": -0.01, "bytes": list(token.encode("utf-8", "replace"))}
    others = [
        {"token": f"{token}{rank}", "logprob": -5.0 - rank, "bytes": list(f"{token}{rank}".encode("utf-8", "replace"))}
        for rank in range(1, most)
    ]
    return {**own, "top_logprobs": [own, *others] if most else []}
