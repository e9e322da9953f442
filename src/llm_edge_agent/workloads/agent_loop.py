"""Agents at work: each task is a loop of tool calls, and each request repeats the one before it and adds a turn.

Eight agents of one application run at a time, with the same instructions and the same tools; each works on a task of
its own for 4 to 30 turns. A tool's result has 100 to 900 words. A turn takes 3 to 40 seconds; one in fifty waits ten
minutes for a person, longer than a provider remembers a prefix. No request is ever the same as another.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from random import Random
from typing import Any

import msgspec

from llm_edge_agent.workloads.drawing import WORDS, prose
from llm_edge_agent.workloads.records import LoggedRequest, logged

MODEL = "claude-sonnet-5"
AGENTS = 8
TURNS = (4, 30)
RESULT_WORDS = (100, 900)
TURN_S = (3.0, 40.0)
WAITS_FOR_A_PERSON = 1 / 50
WAIT_S = 600.0

_TOOLS = ("read_file", "search_text", "list_folder", "run_tests", "edit_file", "fetch_page")


def agent_loop(seed: int) -> Iterator[LoggedRequest]:
    """Endless."""
    random = Random(seed)  # noqa: S311 - nothing here is a secret
    instructions = "You are a careful engineer. Work step by step with the tools. " + prose(random, 900)
    tools = [_tool(name, prose(random, 40)) for name in _TOOLS]
    shared = len(instructions) + len(msgspec.json.encode(tools))
    due: list[tuple[float, int]] = [(random.uniform(0, TURN_S[1]), agent) for agent in range(AGENTS)]
    due.sort()
    agents = [_Agent(random, instructions) for _ in range(AGENTS)]
    while True:
        time_s, number = heappop(due)
        agent = agents[number]
        answer_tokens = random.randint(40, 200)
        body: dict[str, object] = {"model": MODEL, "tools": tools, "messages": agent.messages}
        yield logged(body, time_s=time_s, prompt_characters=shared + agent.characters, completion_tokens=answer_tokens)
        agent.work(random)
        if agent.turns_left == 0:
            agents[number] = _Agent(random, instructions)
        pause_s = WAIT_S if random.random() < WAITS_FOR_A_PERSON else random.uniform(*TURN_S)
        heappush(due, (time_s + pause_s, number))


class _Agent:
    """One task and what was said of it."""

    def __init__(self, random: Random, instructions: str) -> None:
        task = f"Task {random.randrange(10**9)}: {prose(random, 60)}"
        self.messages: list[dict[str, Any]] = [
            {"role": "system", "content": instructions},
            {"role": "user", "content": task},
        ]
        self.characters = len(task)
        self.turns_left = random.randint(*TURNS)

    def work(self, random: Random) -> None:
        """A turn: the model calls a tool, the tool answers."""
        self.turns_left -= 1
        call_id = f"call_{random.randrange(10**12):012d}"
        arguments = msgspec.json.encode({"path": f"{random.choice(WORDS)}/{random.choice(WORDS)}.txt"}).decode()
        call = {
            "id": call_id,
            "type": "function",
            "function": {"name": random.choice(_TOOLS), "arguments": arguments},
        }
        result = prose(random, random.randint(*RESULT_WORDS))
        self.messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": result})
        self.characters += len(arguments) + len(result)


def _tool(name: str, description: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}
