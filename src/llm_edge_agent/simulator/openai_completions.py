"""POST /v1/completions, the endpoint before chat: whole answers and streams of chunks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from llm_edge_agent.simulator import openai_errors, prompts, tokens
from llm_edge_agent.simulator.answers import Answer, Turn, answer
from llm_edge_agent.simulator.catalog import OpenAIModel
from llm_edge_agent.simulator.directives import BadDirective, parse
from llm_edge_agent.simulator.endpoint import Asked, Ready, State
from llm_edge_agent.simulator.openai_shapes import COMPLETIONS
from llm_edge_agent.simulator.pacing import Piece
from llm_edge_agent.simulator.prompts import Segment, text_segment
from llm_edge_agent.simulator.records import Billed
from llm_edge_agent.simulator.wire import data_event, to_json

Body = Mapping[str, Any]

_DEFAULT_MAX_TOKENS = 16
_FINISH = {"length": "length", "model_context_window_exceeded": "length", "content_filter": "content_filter"}
"""Every other reason is `stop`."""


def completions(state: State, asked: Asked, body: Any) -> Ready:
    """Raises Refused. Directives are read from the first prompt."""
    if (problem := COMPLETIONS.problem(body, ())) is not None:
        raise openai_errors.shape_refusal(problem)
    model = _model(state, body["model"])
    _check(body)
    texts = [_text(each) for each in _prompts(body["prompt"])]
    try:
        parsed = [parse(text) for text, _ in texts]
    except BadDirective as bad:
        raise openai_errors.invalid(str(bad), "prompt") from None
    directives = parsed[0][0]
    openai_errors.raise_directed(directives, model.id, state.rng)
    limit = _DEFAULT_MAX_TOKENS if body.get("max_tokens") is None else body["max_tokens"]
    longest = max(segment.tokens for _, segment in texts)
    if longest + limit > model.context_window:
        raise openai_errors.invalid(
            f"This model's maximum context length is {model.context_window} tokens, however you requested "
            f"{longest + limit} tokens ({longest} in your prompt; {limit} for the completion). Please reduce your "
            "prompt; or completion length.",
            code="context_length_exceeded",
        )
    stop = body.get("stop")
    answers = [
        answer(
            Turn(
                user_text=text,
                prompt=prompt,
                directives=directives,
                max_tokens=limit,
                stops=(stop,) if isinstance(stop, str) else tuple(stop or ()),
                variant=variant,
            )
        )
        for (text, _), (_, prompt) in zip(texts, parsed, strict=True)
        for variant in range(body.get("n") or 1)
    ]
    echoed = [text if body.get("echo") else "" for text, _ in texts for _ in range(body.get("n") or 1)]
    counted = prompts.prompt_tokens([segment for _, segment in texts])
    head = {
        "id": state.identifier("cmpl-", 29),
        "object": "text_completion",
        "created": int(asked.unix_s),
        "model": model.id,
    }
    completion = Completion(body, model, answers, echoed, counted, head)
    return Ready(
        body=b"" if body.get("stream") else to_json(completion.whole()),
        pieces=completion.pieces if body.get("stream") else None,
        output_tokens=completion.output_tokens,
        bill=completion.bill,
        directives=directives,
    )


def _model(state: State, name: str) -> OpenAIModel:
    """Only models of that time answer here, and the extra ones, which stand for servers that still have them."""
    model = state.catalog.openai.get(name)
    if model is None:
        raise openai_errors.no_such_model(name)
    if model.retired:
        message = f"The model `{name}` has been deprecated, learn more here: "
        message += "https://platform.openai.com/docs/deprecations"
        raise openai_errors.invalid(message, code="model_not_found", status=404)
    if model.mode != "completion" and name not in state.settings.extra_models:
        raise openai_errors.invalid(
            "This is not a completions model and thus not supported in the v1/completions endpoint. Did you mean to "
            "use v1/chat/completions?",
            "model",
            status=404,
        )
    return model


def _check(body: Body) -> None:
    count = body.get("n") or 1
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise openai_errors.invalid(message, "stream_options")
    if body.get("best_of") is not None and body["best_of"] < count:
        raise openai_errors.invalid("You requested that the server return more choices than it will generate", "n")
    if body.get("best_of", count) != count and body.get("stream"):
        raise openai_errors.invalid("Results of best_of cannot be streamed", "best_of")
    if body.get("suffix") is not None and body.get("echo"):
        raise openai_errors.invalid("Cannot use 'suffix' together with 'echo'.", "suffix")


def _prompts(given: Any) -> list[Any]:
    """One or several prompts as several; none is the start of a document."""
    if given is None:
        return ["<|endoftext|>"]
    return list(given) if isinstance(given, list) and not isinstance(given[0], int) else [given]


def _text(prompt: Any) -> tuple[str, Segment]:
    """A prompt's text and what is counted of it. Token ids read as their numbers."""
    if isinstance(prompt, str):
        return prompt, text_segment(prompt)
    text = " ".join(str(each) for each in prompt)
    return text, Segment(text, len(prompt))


@dataclass(frozen=True, slots=True)
class Completion:
    """One answered request: a choice for each prompt and each of `n`, in this order."""

    body: Body
    model: OpenAIModel
    answers: Sequence[Answer]
    echoed: Sequence[str]
    """What stands before each answer, with `echo`."""
    prompt_tokens: int
    head: Mapping[str, Any]

    @property
    def output_tokens(self) -> int:
        return sum(each.output_tokens for each in self.answers)

    def bill(self, output_tokens: int, aborted: bool) -> Billed:
        return Billed(
            provider="openai",
            model=self.model.id,
            input_tokens=self.prompt_tokens,
            output_tokens=output_tokens,
            aborted=aborted,
        )

    def _usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.prompt_tokens + self.output_tokens,
        }

    def whole(self) -> dict[str, Any]:
        choices = [
            self._choice(index, echo + said.text, _FINISH.get(said.finish, "stop"))
            for index, (said, echo) in enumerate(zip(self.answers, self.echoed, strict=True))
        ]
        return {**self.head, "choices": choices, "usage": self._usage()}

    def _choice(self, index: int, text: str, finish: str | None) -> dict[str, Any]:
        wanted = self.body.get("logprobs")
        logprobs = None if wanted is None or not text else _logprobs(text, wanted)
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish}

    def pieces(self) -> Iterator[Piece]:
        """The choices interleaved, each ended by an empty text with its reason; usage if asked; [DONE]."""
        with_usage = bool((self.body.get("stream_options") or {}).get("include_usage"))
        tail = {"usage": None} if with_usage else {}
        streams = [
            self._parts(index, said, echo)
            for index, (said, echo) in enumerate(zip(self.answers, self.echoed, strict=True))
        ]
        for each_round in zip_longest(*streams):
            for entry in each_round:
                if entry is not None:
                    choice, weight = entry
                    yield Piece(data_event({**self.head, "choices": [choice], **tail}), weight)
        if with_usage:
            yield Piece(data_event({**self.head, "choices": [], "usage": self._usage()}), tells="everything")
        yield Piece(b"data: [DONE]\n\n")

    def _parts(self, index: int, said: Answer, echo: str) -> Iterator[tuple[dict[str, Any], int]]:
        if echo:
            yield self._choice(index, echo, None), 0
        for part in tokens.split(said.text):
            yield self._choice(index, part, None), 1
        yield self._choice(index, "", _FINISH.get(said.finish, "stop")), 0


def _logprobs(text: str, most: int) -> dict[str, Any]:
    found = list(tokens.split(text))
    return {
        "tokens": found,
        "token_logprobs": [-0.01] * len(found),
        "top_logprobs": [{f"{token}{rank or ''}": -0.01 - 5 * rank for rank in range(most)} for token in found],
        "text_offset": [position * tokens.CHARS_PER_TOKEN for position in range(len(found))],
    }
