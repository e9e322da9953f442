"""Where a master or a slot is: two questions to Sentinels and to the nodes of a cluster. Asked in the background only:
no request waits for it."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llm_edge_agent.cache.redis_connection import connect
from llm_edge_agent.cache.tiers import StoreError
from llm_edge_agent.config.redis_address import RedisAddress

Node = tuple[str, int]

SLOTS = 16384


async def master(address: RedisAddress, *, timeout_s: float) -> Node:
    """The server that most of the Sentinels call the master now. Raises StoreError where none can tell."""
    login = replace(address, username=address.sentinel_username, password=address.sentinel_password, database=0)
    service = (address.service or "").encode()
    answers = await asyncio.gather(
        *(
            _asked(node, login, b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", service, timeout_s=timeout_s)
            for node in address.nodes
        ),
        return_exceptions=True,
    )
    named: Counter[Node] = Counter()
    failure = StoreError("connect")
    for answer in answers:
        if isinstance(answer, StoreError):
            failure = answer
        elif isinstance(answer, BaseException):
            raise answer
        elif (place := _place(answer)) is not None:
            named[place] += 1
    if not named:
        raise failure
    return named.most_common(1)[0][0]


async def slot_owners(address: RedisAddress, known: Sequence[Node], *, timeout_s: float) -> list[Node | None]:
    """The primary of each of the 16,384 slots; None where there is none. Asks one after the other, in any order, the
    nodes that were `known` before as well as those of the address. Raises StoreError where none can tell."""
    nodes = [*dict.fromkeys([*known, *address.nodes])]
    random.shuffle(nodes)
    failure = StoreError("connect")
    for node in nodes:
        try:
            return _owners(await _asked(node, address, b"CLUSTER", b"SLOTS", timeout_s=timeout_s), node[0])
        except StoreError as error:
            failure = error
    raise failure


async def _asked(node: Node, address: RedisAddress, *parts: bytes, timeout_s: float) -> Any:
    """The answer of one server to one question."""
    connection = await connect(node, address, lambda _error: None, timeout_s=timeout_s, probe_s=timeout_s)
    try:
        return await connection.ask(*parts, timeout_s=timeout_s)
    finally:
        connection.close()


def _place(answer: Any) -> Node | None:
    """From `[host, port]`; None where a Sentinel does not know the service."""
    try:
        host, port = answer
        return host.decode(), int(port)
    except (ValueError, TypeError, AttributeError):
        return None


def _owners(slots: Any, asked: str) -> list[Node | None]:
    """From `[[first slot, last slot, [host, port, ...] of the primary, replicas...], ...]`. An empty host is the one
    that was asked."""
    owners: list[Node | None] = [None] * SLOTS
    try:
        for first, last, (host, port, *_), *_ in slots:
            place = (host.decode() or asked if host is not None else asked), int(port)
            owners[first : last + 1] = [place] * (last - first + 1)
    except (ValueError, TypeError, AttributeError):
        raise StoreError("protocol") from None
    if len(owners) != SLOTS:
        raise StoreError("protocol")
    return owners
