import random
from statistics import median

import pytest

from llm_edge_agent.core import prompt_sizes
from llm_edge_agent.core.prompt_sizes import BYTES_PER_TOKEN, MAX_KNOWN, PromptSizes

CHAT = "chat", "gpt-5"


def test_four_bytes_a_token_where_nothing_was_learnt() -> None:
    assert BYTES_PER_TOKEN == 4
    sizes = PromptSizes()
    assert [sizes.estimate(*CHAT, size) for size in (0, 400, 4000)] == [0, 100, 1000]


def test_what_was_learnt_is_of_a_door_and_a_model() -> None:
    sizes = PromptSizes()
    sizes.learn(*CHAT, 3000, 1000)
    sizes.learn("messages", "claude", 3000, 500)
    assert sizes.estimate(*CHAT, 2700) == 900
    assert sizes.estimate("messages", "claude", 2700) == 450
    assert sizes.estimate("chat", "claude", 2700) == 675


def test_short_requests_teach_nothing_of_long_ones_unless_there_are_no_others() -> None:
    sizes = PromptSizes()
    sizes.learn(*CHAT, 120, 10)
    assert sizes.estimate(*CHAT, 60_000) == 5000
    sizes.learn(*CHAT, 60_000, 15_000)
    assert sizes.estimate(*CHAT, 50_000) == 12_500
    assert sizes.estimate(*CHAT, 100) == round(100 / 12)


def test_of_two_as_near_the_larger_tells() -> None:
    sizes = PromptSizes()
    sizes.learn(*CHAT, 1 << 8, 1 << 4)
    sizes.learn(*CHAT, 1 << 12, 1 << 10)
    assert sizes.estimate(*CHAT, 1 << 10) == 1 << 8


def test_a_bill_without_a_prompt_teaches_nothing() -> None:
    sizes = PromptSizes()
    sizes.learn(*CHAT, 400, 0)
    sizes.learn(*CHAT, 400, -1)
    assert sizes.estimate(*CHAT, 400) == 100


def test_a_new_tokenizer_is_learnt_and_one_odd_bill_is_not_believed() -> None:
    sizes = PromptSizes()
    sizes.learn(*CHAT, 4000, 1000)
    sizes.learn(*CHAT, 4000, 500)
    assert 900 < sizes.estimate(*CHAT, 4000) < 1000
    for _ in range(100):
        sizes.learn(*CHAT, 4000, 500)
    assert sizes.estimate(*CHAT, 4000) == pytest.approx(500, rel=0.01)


def test_an_image_says_nothing_of_text() -> None:
    sizes = PromptSizes()
    sizes.learn(*CHAT, 500_000, 125_000)
    sizes.learn(*CHAT, 500_000, 1000)
    assert sizes.estimate(*CHAT, 500_000) == 125_000
    sizes.learn(*CHAT, 120, 6)  # here it is JSON that counts for nothing
    assert sizes.estimate(*CHAT, 120) == 6


def test_what_is_kept_has_a_bound() -> None:
    sizes = PromptSizes()
    for number in range(MAX_KNOWN + 1):
        sizes.learn("chat", f"model-{number}", 100, 10)
    assert sizes.estimate("chat", f"model-{MAX_KNOWN}", 100) == 10
    assert sizes.estimate("chat", "model-0", 100) == 25


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
        errors.append(abs(sizes.estimate(*CHAT, size) - tokens) / tokens)
        untaught.append(abs(size / prompt_sizes.BYTES_PER_TOKEN - tokens) / tokens)
        sizes.learn(*CHAT, size, tokens)
    assert median(errors[100:]) < 0.1
    assert median(errors[100:]) < median(untaught[100:])
