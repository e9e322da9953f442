"""One request sent through the gateway, and what the provider saw of it: where the two differ."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llm_edge_agent.cli.fidelity.cases import Case

OWN_HEADER = "x-fidelity"
"""A header of the client that no list names: it must stay in the gateway."""

_OWN_METADATA = re.compile(rb',"metadata":\{"provider":"[^"]*","cached":[^{}]*\}')
_RELAYED = re.compile(r"x-ratelimit-.*|anthropic-ratelimit-.*|x-should-retry")


@dataclass(frozen=True)
class Seen:
    """One exchange as the provider saw it, or as the client did. Header names are in lower case."""

    target: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    answer_headers: Mapping[str, str]
    answer: bytes


def differences(case: Case, key: str, client: Seen, provider: Seen) -> list[str]:
    """What is not the same on both sides, in words; empty where all is. `key`: the client's own for the gateway."""
    return [*_on_the_way_up(case, key, client, provider), *_on_the_way_down(case, client, provider)]


def _on_the_way_up(case: Case, key: str, client: Seen, provider: Seen) -> Iterator[str]:
    yield from _bytes("request", client.body, provider.body)
    if client.target != provider.target:
        yield f"the provider was asked for {provider.target}"
    for name, value in case.headers.items():
        if provider.headers.get(name) != value:
            yield f"{name} arrived as {provider.headers.get(name)!r}"
    if OWN_HEADER in provider.headers:
        yield "a header that is none of the provider's business arrived"
    if any(key in value for value in provider.headers.values()):
        yield "the gateway's own key arrived"


def _on_the_way_down(case: Case, client: Seen, provider: Seen) -> Iterator[str]:
    if provider.status != case.status:
        yield f"the provider answered {provider.status}, not {case.status} as this case is meant to"
    if client.status != provider.status:
        yield f"the provider's status {provider.status} arrived as {client.status}"
    answer = client.answer
    if case.door == "chat" and answer != provider.answer:
        answer = _as_chat_is_promised(answer)
    yield from _bytes("answer", provider.answer, answer)
    for name, value in provider.answer_headers.items():
        if _RELAYED.fullmatch(name) is not None and client.answer_headers.get(name) != value:
            yield f"the provider's {name} arrived as {client.answer_headers.get(name)!r}"
    wait = provider.answer_headers.get("retry-after")
    if wait is not None and client.answer_headers.get("retry-after") != wait:
        yield f"retry-after {wait} arrived as {client.answer_headers.get('retry-after')!r}"


def _as_chat_is_promised(answer: bytes) -> bytes:
    """Chat completions carry the gateway's `metadata`; but for that they are the provider's."""
    return _OWN_METADATA.sub(b"", answer, count=1)


def _bytes(what: str, sent: bytes, arrived: bytes) -> Iterator[str]:
    if sent == arrived:
        return
    place = next(
        (i for i, (a, b) in enumerate(zip(sent, arrived, strict=False)) if a != b), min(len(sent), len(arrived))
    )
    around = slice(max(0, place - 12), place + 24)
    yield f"{what}: {len(sent)} bytes became {len(arrived)}; at {place}: {sent[around]!r} became {arrived[around]!r}"
