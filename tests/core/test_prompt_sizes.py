import random
from statistics import median

import pytest

from llm_edge_agent.core import prompt_sizes
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.core.prompt_sizes import BYTES_PER_TOKEN, MAX_KNOWN, PromptEstimate, PromptSizes

CHAT = "chat", "gpt-5"


def learn(sizes: PromptSizes, door: str, model: str, size_bytes: int, tokens: int) -> None:
    sizes.learn(door, model, size_bytes, TokenUsage(prompt_tokens=tokens))


def estimate(sizes: PromptSizes, door: str, model: str, size_bytes: int) -> int:
    return sizes.estimate(door, model, size_bytes).prompt_tokens


def test_four_bytes_a_token_where_nothing_was_learnt() -> None:
    assert BYTES_PER_TOKEN == 4
    sizes = PromptSizes()
    assert [estimate(sizes, *CHAT, size) for size in (0, 400, 4000)] == [0, 100, 1000]


def test_what_was_learnt_is_of_a_door_and_a_model() -> None:
    sizes = PromptSizes()
    learn(sizes, *CHAT, 3000, 1000)
    learn(sizes, "messages", "claude", 3000, 500)
    assert estimate(sizes, *CHAT, 2700) == 900
    assert estimate(sizes, "messages", "claude", 2700) == 450
    assert estimate(sizes, "chat", "claude", 2700) == 675


def test_long_requests_teach_of_shorter_ones_and_not_the_other_way_round() -> None:
    sizes = PromptSizes()
    learn(sizes, *CHAT, 120, 10)
    assert estimate(sizes, *CHAT, 100) == round(100 / 12)
    assert estimate(sizes, *CHAT, 60_000) == 15_000
    learn(sizes, *CHAT, 60_000, 20_000)
    learn(sizes, *CHAT, 1_000_000, 500_000)
    assert estimate(sizes, *CHAT, 60_000) == 20_000
    assert estimate(sizes, *CHAT, 3000) == 1000
    assert estimate(sizes, *CHAT, 100) == round(100 / 12)


def test_a_bill_without_a_prompt_teaches_nothing() -> None:
    sizes = PromptSizes()
    learn(sizes, *CHAT, 400, 0)
    learn(sizes, *CHAT, 400, -1)
    assert estimate(sizes, *CHAT, 400) == 100


@pytest.mark.parametrize(
    "bill",
    [
        TokenUsage(prompt_tokens=10**13),
        TokenUsage(prompt_tokens=10**400),
        TokenUsage(prompt_tokens=1000, cache_read_tokens=1001),
        TokenUsage(prompt_tokens=1000, cache_read_tokens=10**400),
        TokenUsage(prompt_tokens=1000, cache_write_tokens=600, cache_write_1h_tokens=600),
        TokenUsage(prompt_tokens=1000, cache_read_tokens=-(10**400), cache_write_tokens=10**400),
        TokenUsage(prompt_tokens=1000, cache_write_1h_tokens=-1),
    ],
    ids=range(7),
)
def test_a_bill_that_cannot_be_teaches_nothing(bill: TokenUsage) -> None:
    sizes = PromptSizes()
    sizes.learn(*CHAT, 3000, bill)
    assert sizes.estimate(*CHAT, 3000) == PromptEstimate(750)
    learn(sizes, *CHAT, 3000, 1000)
    sizes.learn(*CHAT, 3000, bill)
    assert sizes.estimate(*CHAT, 3000) == PromptEstimate(1000)


def test_the_first_bills_weigh_the_same_and_later_ones_pass_away() -> None:
    sizes = PromptSizes()
    for tokens in (1000, 500, 2000, 500):
        learn(sizes, *CHAT, 4000, tokens)
    assert estimate(sizes, *CHAT, 4000) == round(4000 / ((4 + 8 + 2 + 8) / 4))
    for _ in range(200):
        learn(sizes, *CHAT, 4000, 400)
    assert estimate(sizes, *CHAT, 4000) == 400
    learn(sizes, *CHAT, 4000, 4000)
    assert 400 < estimate(sizes, *CHAT, 4000) < 430  # one odd bill is not believed


def test_an_image_says_nothing_of_text() -> None:
    sizes = PromptSizes()
    learn(sizes, *CHAT, 500_000, 125_000)
    learn(sizes, *CHAT, 500_000, 1000)
    assert estimate(sizes, *CHAT, 500_000) == 125_000
    learn(sizes, *CHAT, 120, 6)  # here it is JSON that counts for nothing
    assert estimate(sizes, *CHAT, 120) == 6


def test_what_is_usually_in_the_cache_is_learnt_with_the_size() -> None:
    sizes = PromptSizes()
    sizes.learn(*CHAT, 4000, TokenUsage(prompt_tokens=1000, cache_write_tokens=800, cache_write_1h_tokens=100))
    assert sizes.estimate(*CHAT, 4000) == PromptEstimate(1000, 0, 800, 100)
    for _ in range(100):
        sizes.learn(*CHAT, 4000, TokenUsage(prompt_tokens=1000, cache_read_tokens=900))
    assert tuple(sizes.estimate(*CHAT, 4000)) == pytest.approx((1000, 900, 0, 0), abs=3)
    assert sizes.estimate(*CHAT, 1000) == PromptEstimate(250)


def test_what_is_kept_has_a_bound() -> None:
    sizes = PromptSizes()
    for number in range(MAX_KNOWN + 1):
        learn(sizes, "chat", f"model-{number}", 100, 10)
    assert estimate(sizes, "chat", f"model-{MAX_KNOWN}", 100) == 10
    assert estimate(sizes, "chat", "model-0", 100) == 25


def test_of_a_name_that_a_client_wrote_only_the_beginning_is_kept() -> None:
    sizes = PromptSizes()
    name = "m" * 10**6
    learn(sizes, "chat", name, 3000, 1000)
    assert estimate(sizes, "chat", name, 3000) == 1000
    assert max(len(model) for _, model, _ in sizes._seen) == 128


@pytest.mark.parametrize("characters_per_token", [1.3, 2.9, 5.2])
def test_prompts_of_any_tokenizer_are_estimated_well_after_a_few(characters_per_token: float) -> None:
    """Some JSON around the text, which no provider counts; texts of all sizes."""
    rng = random.Random(7)
    sizes = PromptSizes()
    errors: list[float] = []
    untaught: list[float] = []
    for _ in range(1000):
        text = int(10 ** rng.uniform(1, 5))
        size, tokens = 110 + text, max(1, round(text / (characters_per_token * rng.uniform(0.9, 1.1))))
        errors.append(abs(estimate(sizes, *CHAT, size) - tokens) / tokens)
        untaught.append(abs(size / prompt_sizes.BYTES_PER_TOKEN - tokens) / tokens)
        learn(sizes, *CHAT, size, tokens)
    assert median(errors[100:]) < 0.1
    assert median(errors[100:]) < median(untaught[100:])
