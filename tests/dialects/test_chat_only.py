"""What no upstream but one of Chat Completions takes."""

from typing import Any

import pytest

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.chat_only import refuse_what_only_chat_has
from llm_edge_agent.dialects.fields import Losses


def losses() -> Losses:
    return Losses(strict=False)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities[1]"),
        ({"audio": {}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
    ],
)
def test_what_would_change_the_answer_is_refused(given: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayError) as raised:
        refuse_what_only_chat_has(given, losses(), droppable=())
    assert (raised.value.status, raised.value.param) == (400, param)


def test_what_changes_nothing_passes() -> None:
    given = {
        "n": 1,
        "logprobs": False,
        "top_logprobs": 0,
        "modalities": ["text"],
        "logit_bias": {},
        "frequency_penalty": 0,
        "store": False,
        "seed": 1,
    }
    found = losses()
    refuse_what_only_chat_has(given, found, droppable=())
    assert found.warnings() == ()


def test_the_rest_is_dropped_with_a_warning() -> None:
    given = {"logit_bias": {"1": 2}, "frequency_penalty": 1, "presence_penalty": -1, "store": True, "seed": 1}
    found = losses()
    refuse_what_only_chat_has(given, found, droppable=("seed", "prediction"))
    dropped = ("logit_bias", "frequency_penalty", "presence_penalty", "store", "seed")
    assert found.warnings() == tuple(f"dropped:{key}" for key in dropped)
