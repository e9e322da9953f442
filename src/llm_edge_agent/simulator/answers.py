"""What the simulated models say: from a request, whatever its dialect, to an answer that depends on it alone."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from llm_edge_agent.simulator import tokens
from llm_edge_agent.simulator.directives import NONE, Directives, Finish
from llm_edge_agent.simulator.schema_instances import instance

_KNOWLEDGE = (
    (r"capital of france", "The capital of France is Paris."),
    (r"capital of (germany|deutschland)", "The capital of Germany is Berlin."),
    (r"capital of japan", "The capital of Japan is Tokyo."),
    (r"capital of italy", "The capital of Italy is Rome."),
    (
        r"\b(llm )?(gateway|proxy)\b",
        "A gateway stands between applications and model providers. It gives every application one address and one "
        "API, keeps the provider keys in one place, answers repeated questions from its cache, and tells what each "
        "answer cost.",
    ),
    (
        r"\bhaiku\b",
        "A packet arrives,\nthe cache already knows it:\nno tokens are spent.",
    ),
    (r"\b(2|two) ?(\+|plus) ?(2|two)\b", "2 + 2 = 4."),
    (r"\bwhy is the sky blue\b", "Air scatters blue light more strongly than red light, so the sky looks blue."),
    (r"^\W*(hi|hello|hey|good morning)\b", "Hello! How can I help you today?"),
    (r"\bthank(s| you)\b", "You are welcome! Is there anything else I can help you with?"),
)
_OPENINGS = ("Good question.", "Happy to help.", "Let me think this through with you.", "Here is what I can say.")
_MIDDLES = (
    "The short answer is that it depends on what you want to achieve, so start with the simplest thing that works.",
    "It helps to split the matter into small parts, settle each one, and then look at the whole again.",
    "Most people find that one concrete example teaches more here than a long explanation.",
    "There are usually two sides to this: what is quick to do today, and what is easy to change tomorrow.",
)
_CLOSINGS = (
    "Tell me more about your case and I can be more precise.",
    "Would you like an example?",
    "If you share some details, I will go deeper.",
    "I can also list the steps one by one if that is useful.",
)
_ASKED = re.compile(r"\b(call|calls|use|using|invoke|run)\b", re.IGNORECASE)
_FILLER = "The quick brown fox jumps over the lazy dog while the gateway watches. "
SURROGATE_TEXT = "A pair cut in two: \ud83d\ude00, and one alone: \ud83d."
"""With four characters a token the pair is cut between the fifth and the sixth token."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    name: str
    schema: Mapping[str, Any]
    kind: Literal["function", "custom"] = "function"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A request in the words of no dialect."""

    user_text: str
    """The last user message, directives included."""
    prompt: str
    """The same without directives."""
    directives: Directives = NONE
    tools: tuple[ToolSpec, ...] = ()
    choice: str = "auto"
    """none, auto, required, or `=name` for one tool."""
    parallel: bool = True
    results: tuple[tuple[str, str], ...] = ()
    """Name and text of the tool results that end the conversation."""
    schema: Mapping[str, Any] | None = None
    json_object: bool = False
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    reasoning: str = ""
    """Text of the thinking that comes first and counts in max_tokens."""
    hidden_reasoning: int = 0
    """Tokens of reasoning that is never shown, as OpenAI's; they count in max_tokens too."""
    variant: int = 0
    """Which of several choices (n)."""


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    kind: Literal["function", "custom"]
    arguments: str
    """JSON text of the arguments; of a custom tool, its free input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    reasoning: str = ""
    text: str = ""
    calls: tuple[Call, ...] = ()
    finish: Finish | Literal["calls", "stop_sequence"] = "stop"
    stop_sequence: str | None = None
    reasoning_tokens: int = 0
    text_tokens: int = 0
    calls_tokens: int = 0

    @property
    def output_tokens(self) -> int:
        return self.reasoning_tokens + self.text_tokens + self.calls_tokens


def answer(turn: Turn) -> Answer:
    """The answer to a turn: the same turn gets the same answer."""
    calls = () if turn.results else _calls(turn)
    if calls and turn.directives.finish is None:
        return _limited(turn, "", calls)
    return _limited(turn, _text(turn), ())


def declining(said: Answer, words: str) -> Answer:
    """The answer; a refusal says `words` and nothing else, as where a refusal is a text of its own."""
    if said.finish != "refusal":
        return said
    return replace(said, text=words, calls=(), text_tokens=tokens.count(words), calls_tokens=0)


def seeded(*parts: str) -> int:
    """A number that depends on the texts alone."""
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest())


def thought(prompt: str) -> str:
    """What a thinking model thinks about a prompt."""
    return f"The user asks: {prompt[:60]!r}. I will give a short and correct answer and check it once."


def _calls(turn: Turn) -> tuple[Call, ...]:
    by_name = {tool.name: tool for tool in turn.tools}
    if not by_name or turn.choice == "none":
        return ()
    if turn.directives.tool is not None:
        wanted = [name for name in turn.directives.tool.split("+") if name in by_name]
    elif turn.choice.startswith("="):
        wanted = [turn.choice[1:]]
    else:
        wanted = _asked_for(turn.prompt, by_name) or ([turn.tools[0].name] if turn.choice == "required" else [])
    calls = [_call(by_name[name], turn.prompt, position) for position, name in enumerate(wanted) if name in by_name]
    return tuple(calls if turn.parallel else calls[:1])


def _asked_for(prompt: str, by_name: Mapping[str, ToolSpec]) -> list[str]:
    """The tools named in the prompt, in its order, when it asks to call something."""
    if not _ASKED.search(prompt):
        return []
    names = "|".join(re.escape(name) for name in sorted(by_name, key=len, reverse=True))
    return re.findall(rf"(?<![\w-])(?:{names})(?![\w-])", prompt)


def _call(tool: ToolSpec, prompt: str, position: int) -> Call:
    if tool.kind == "custom":
        return Call(tool.name, "custom", f"input {position} for {tool.name}")
    arguments = instance(tool.schema, prompt) if tool.schema else {}
    return Call(tool.name, "function", msgspec.json.encode(arguments).decode())


def _text(turn: Turn) -> str:
    directives = turn.directives
    if directives.surrogate:
        text = SURROGATE_TEXT
    elif directives.echo:
        text = turn.user_text
    elif turn.schema is not None:
        text = msgspec.json.encode(instance(turn.schema, turn.prompt)).decode()
    elif turn.json_object:
        text = msgspec.json.encode({"answer": _said(turn)}).decode()
    elif turn.results:
        text = " ".join(f"{name} answered: {result}" for name, result in turn.results)
    else:
        text = _said(turn)
    if directives.tokens is not None:
        length = directives.tokens * tokens.CHARS_PER_TOKEN
        text = (text + " " + _FILLER * (length // len(_FILLER) + 1))[:length]
    return text


def _said(turn: Turn) -> str:
    variation = "" if turn.variant == 0 else f" (Answer {turn.variant + 1}.)"
    for pattern, reply in _KNOWLEDGE:
        if re.search(pattern, turn.prompt, re.IGNORECASE):
            return reply + variation
    seed = seeded(turn.prompt, str(turn.variant))
    about = " ".join(turn.prompt.split())
    subject = f"You wrote: “{about[:80]}{'…' if len(about) > 80 else ''}”." if about else "You wrote nothing yet."
    parts = (
        _OPENINGS[seed % 4],
        subject,
        _MIDDLES[seed // 4 % 4],
        _CLOSINGS[seed // 16 % 4],
    )
    return " ".join(parts) + variation


def _limited(turn: Turn, text: str, calls: tuple[Call, ...]) -> Answer:
    """Applies stop sequences, then the limit on tokens, to what the model wants to say."""
    finish: Finish | Literal["calls", "stop_sequence"] = "calls" if calls else "stop"
    found = [(text.find(stop), stop) for stop in turn.stops if stop and stop in text]
    stopped_by = None
    if found:
        at, stopped_by = min(found)
        text, finish = text[:at], "stop_sequence"
    if turn.directives.finish is not None:
        finish = turn.directives.finish
        if finish in ("length", "content_filter"):
            text = text[: len(text) // 2]
    left = turn.max_tokens
    reasoning, reasoning_tokens = turn.reasoning, tokens.count(turn.reasoning) + turn.hidden_reasoning
    text_tokens, calls_tokens = tokens.count(text), sum(_call_tokens(call) for call in calls)
    if left is not None and reasoning_tokens + text_tokens + calls_tokens > left:
        finish, stopped_by = "length", None
        reasoning_tokens = min(reasoning_tokens, left)
        reasoning = tokens.truncate(reasoning, reasoning_tokens)
        text = tokens.truncate(text, left - reasoning_tokens)
        text_tokens, calls, calls_tokens = tokens.count(text), (), 0
    return Answer(
        reasoning=reasoning,
        text=text,
        calls=calls,
        finish=finish,
        stop_sequence=stopped_by,
        reasoning_tokens=reasoning_tokens,
        text_tokens=text_tokens,
        calls_tokens=calls_tokens,
    )


def _call_tokens(call: Call) -> int:
    return tokens.count(call.name) + tokens.count(call.arguments)
