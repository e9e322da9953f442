"""Hypothesis strategies that several pairs of dialects share: any JSON, and good requests gone bad."""

import itertools
import json
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
WORDS = st.sampled_from(
    ["type", "text", "role", "user", "assistant", "tool", "function", "name", "content", "id", "none", "auto", "high"]
)
ANYTHING = st.recursive(
    st.one_of(SCALARS, WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, st.text()), inner, max_size=4)
    ),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn, whole: Json) -> Json:
    """A request with a few members anywhere in it replaced or removed."""
    request: Json = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(0, 4))):
        node: Any = request
        while True:
            key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            below = node[key]
            if not isinstance(below, dict | list) or not below or draw(st.booleans()):
                break
            node = below
        if draw(st.booleans()):
            del node[key]
        else:
            node[key] = draw(ANYTHING)
        if not node:
            break
    return request


def pieces(draw: Any, text: str) -> list[str]:
    """The text, cut as the draw wills."""
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=3)) | {0, len(text)})
    return [text[a:b] for a, b in itertools.pairwise(cuts)]
