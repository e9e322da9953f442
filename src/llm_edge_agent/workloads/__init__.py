"""Logs of requests: made up by seeded generators, read from files, and replayed through the cache's own code.

A generator is a function of a seed, endless, and always the same: two machines get the same bytes.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from llm_edge_agent.workloads.agent_loop import agent_loop
from llm_edge_agent.workloads.open_chat import open_chat
from llm_edge_agent.workloads.records import LoggedRequest
from llm_edge_agent.workloads.support_bot import support_bot

__all__ = ["GENERATORS", "LoggedRequest", "generate"]

GENERATORS: Mapping[str, Callable[[int], Iterator[LoggedRequest]]] = {
    "support-bot": support_bot,
    "agent-loop": agent_loop,
    "open-chat": open_chat,
}


def generate(name: str, requests: int, seed: int) -> Iterator[LoggedRequest]:
    """The first `requests` requests of a workload, in the order of their times. Raises KeyError for an unknown name."""
    return islice(GENERATORS[name](seed), requests)
