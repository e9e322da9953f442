import pytest

from llm_edge_agent.core.models import Dialect, Model, Rules
from llm_edge_agent.core.needs import DEFAULT_OUTPUT_TOKENS, FEATURES, NOTHING, Needs, fits, lacking, why_unable

EVERYTHING = sum(feature.flag for feature in FEATURES)


def model(dialect: Dialect = "openai", *, known: bool = True, rules: Rules | None = None, **said: bool) -> Model:
    return Model(id="m", dialect=dialect, provider="p", known=known, rules=rules or Rules(), **said)  # type: ignore[arg-type]  # facts of a Model


@pytest.mark.parametrize(
    ("of", "name"),
    [
        (model(vision=False), "vision"),
        (model(pdf=False), "pdf"),
        (model(tools=False), "tools"),
        (model(json_schema=False), "json_schema"),
        (model(streaming=False), "streaming"),
        (model(rules=Rules(sampling_params=False)), "sampling_params"),
        (model(rules=Rules(stop_param=False)), "stop"),
        (model(rules=Rules(forced_tool_choice=False)), "forced_tool_choice"),
        (model("anthropic", rules=Rules(sampling_params=False, stop_param=False)), None),
        (model(known=False, vision=False, tools=False), None),
        (model(), None),
    ],
)
def test_what_each_model_lacks(of: Model, name: str | None) -> None:
    assert why_unable(of, lacking(of), Needs(features=EVERYTHING)) == name
    assert why_unable(of, lacking(of), NOTHING) is None


def test_flags_are_apart() -> None:
    assert 2 ** len(FEATURES) - 1 == EVERYTHING


@pytest.mark.parametrize(
    ("window", "prompt", "output", "expected"),
    [(None, 10**9, 0, True), (1000, 900, 100, True), (1000, 900, 101, False), (1000, 1001, 0, False)],
)
def test_prompt_and_answer_must_fit(window: int | None, prompt: int, output: int, expected: bool) -> None:
    of = Model(id="m", dialect="openai", provider="p", context_window=window)
    wanted = Needs(prompt_tokens=prompt, max_output_tokens=output)
    assert fits(of, wanted) is expected
    assert (why_unable(of, 0, wanted) is None) is expected


@pytest.mark.parametrize(("bound", "expected"), [(0, DEFAULT_OUTPUT_TOKENS), (10, 10), (10**6, DEFAULT_OUTPUT_TOKENS)])
def test_how_long_an_answer_will_be(bound: int, expected: int) -> None:
    assert Needs(max_output_tokens=bound).output_tokens == expected
