"""A shop's support bot: few intents, each asked for in few ways, and the same preamble before every question.

Intents follow Zipf's law over 120 (exponent 1.1), and so do the phrasings of each over 25 (exponent 1.5): most people
press a button or use the words that everybody uses. One question in twenty names an order and so comes only once. One
second passes between questions on average.
"""

from collections.abc import Iterator
from random import Random

from llm_edge_agent.workloads.drawing import WORDS, Zipf, prose
from llm_edge_agent.workloads.records import LoggedRequest, logged

MODEL = "gpt-5.4-mini"
INTENTS, INTENT_EXPONENT = 120, 1.1
PHRASINGS, PHRASING_EXPONENT = 25, 1.5
NAMES_AN_ORDER = 1 / 20
SECONDS_BETWEEN = 1.0

_OPENINGS = (
    "", "Hi, ", "Hello, ", "Please help: ", "Question: ", "I need help, ", "Hey ", "Good morning, ", "Urgent! ", "So, ",
)  # fmt: skip
_ENDINGS = ("?", "", " please", "??", " thanks", ".", " today?", "!", " asap", " or not?")


def support_bot(seed: int) -> Iterator[LoggedRequest]:
    """Endless."""
    random = Random(seed)  # noqa: S311 - nothing here is a secret
    preamble = "You are the support assistant of a shop. Answer from these rules. " + prose(random, 220)
    topics = [f"{random.choice(WORDS)} {random.choice(WORDS)} {random.choice(WORDS)}" for _ in range(INTENTS)]
    intents, phrasings = Zipf(INTENTS, INTENT_EXPONENT), Zipf(PHRASINGS, PHRASING_EXPONENT)
    time_s = 0.0
    while True:
        time_s += random.expovariate(1 / SECONDS_BETWEEN)
        intent, phrasing = intents.draw(random), phrasings.draw(random)
        question = _phrased(topics[intent], phrasing)
        if random.random() < NAMES_AN_ORDER:
            question += f" (order {random.randrange(10**8):08d})"
        body: dict[str, object] = {
            "model": MODEL,
            "messages": [{"role": "system", "content": preamble}, {"role": "user", "content": question}],
        }
        answer_tokens = 60 + (intent * 37 + phrasing * 11) % 160
        yield logged(
            body, time_s=time_s, prompt_characters=len(preamble) + len(question), completion_tokens=answer_tokens
        )


def _phrased(topic: str, phrasing: int) -> str:
    """The way of rank `phrasing` to ask for a topic: all ways differ."""
    opening, ending = _OPENINGS[phrasing % len(_OPENINGS)], _ENDINGS[(phrasing // len(_OPENINGS)) % len(_ENDINGS)]
    return f"{opening}how do I solve a problem with my {topic}{ending}"
