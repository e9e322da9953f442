"""People who talk to an assistant about anything: nearly every request is new.

One conversation in ten opens with one of forty short greetings (Zipf, exponent 1.0), the others with words of their
own; the assistant's answers are part of what follows, and so are never the same either. A conversation has 1 to 6
turns, 20 to 90 seconds apart; a new one begins every 4 seconds on average.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from random import Random

from llm_edge_agent.workloads.drawing import WORDS, Zipf, prose
from llm_edge_agent.workloads.records import LoggedRequest, logged

MODEL = "gpt-5.4-mini"
GREETINGS = 40
OPENS_WITH_A_GREETING = 1 / 10
SECONDS_BETWEEN = 4.0
TURNS = (1, 6)
PAUSE_S = (20.0, 90.0)


def open_chat(seed: int) -> Iterator[LoggedRequest]:
    """Endless."""
    random = Random(seed)  # noqa: S311 - nothing here is a secret
    greetings = ["Hi", "Hello", "Hey", "Thanks", *(f"{word.capitalize()}?" for word in WORDS[: GREETINGS - 4])]
    ranks = Zipf(GREETINGS, 1.0)
    numbers = count()
    due: list[tuple[float, int, int, list[dict[str, str]]]] = []
    next_opening_s = 0.0
    while True:
        while not due or next_opening_s <= due[0][0]:
            greets = random.random() < OPENS_WITH_A_GREETING
            opening = greetings[ranks.draw(random)] if greets else prose(random, random.randint(6, 60))
            said = [{"role": "user", "content": opening}]
            heappush(due, (next_opening_s, next(numbers), random.randint(*TURNS), said))
            next_opening_s += random.expovariate(1 / SECONDS_BETWEEN)
        time_s, number, turns_left, messages = heappop(due)
        answer_tokens = random.randint(50, 400)
        body: dict[str, object] = {"model": MODEL, "messages": messages}
        characters = sum(len(message["content"]) for message in messages)
        yield logged(body, time_s=time_s, prompt_characters=characters, completion_tokens=answer_tokens)
        if turns_left > 1:
            answer = prose(random, answer_tokens * 2 // 3)
            more = [
                *messages,
                {"role": "assistant", "content": answer},
                {"role": "user", "content": prose(random, random.randint(4, 40))},
            ]
            heappush(due, (time_s + random.uniform(*PAUSE_S), number, turns_left - 1, more))
