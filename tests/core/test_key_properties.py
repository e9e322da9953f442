"""The promise about cache keys, as a property: whatever one thing is changed in a request, in any value, at any depth,
in any order that means something, its key is another, unless all that changed is on the deny-list."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.cache_key import NOT_KEYED, cache_key
from llm_edge_agent.core.strict_json import CANONICAL_LIMIT_BYTES, key_material, read_object
from tests.core.test_strict_json import objects, scalars, shape, text, values

names = text | st.sampled_from([*sorted(NOT_KEYED), "messages", "temperature", "tools"])
requests = st.dictionaries(names, values, max_size=5) | objects
sizes = st.booleans()
"""Whether the body is too large for the canonical form."""


def written(request: dict[str, Any], *, large: bool) -> bytes:
    padding = {"padding": "x" * CANONICAL_LIMIT_BYTES} if large else {}
    return json.dumps({**request, **padding}, ensure_ascii=False).encode()


def key(raw: bytes, *, tenant: str = "t", model: str = "m", namespace: str = "") -> bytes:
    material = key_material(read_object(raw, max_depth=64), NOT_KEYED)
    return cache_key(
        tenant=tenant, epoch="", endpoint="chat", model=model, namespace=namespace, passed=b"", material=material
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values below this one."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [each for name, inner in items for each in ((*path, name), *places(inner, (*path, name)))]


@st.composite
def changed(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request, and the same with one thing changed."""
    request = draw(requests)
    other = json.loads(json.dumps(request))
    path = draw(st.sampled_from([(), *places(other)]))
    holder: Any = None
    name, value = None, other
    for step in path:
        holder, name, value = value, step, value[step]
    kinds = ["replace", "wrap", "remove"] if holder is not None else []
    kinds += ["add"] if isinstance(value, dict | list) else []
    kinds += ["swap"] if isinstance(value, list) and len(value) > 1 else []
    kind = draw(st.sampled_from(kinds))
    if kind == "replace":
        holder[name] = draw(values)
    elif kind == "wrap":
        holder[name] = draw(st.sampled_from([[value], {"": value}]))
    elif kind == "remove":
        del holder[name]
    elif kind == "swap":
        at = draw(st.integers(0, len(value) - 2))
        value[at], value[at + 1] = value[at + 1], value[at]
    elif isinstance(value, dict):
        value[draw(names)] = draw(scalars | text)
    else:
        value.append(draw(scalars | text))
    return request, other


def keyed(request: dict[str, Any]) -> Any:
    return shape({name: value for name, value in request.items() if name not in NOT_KEYED})


@given(changed(), sizes)
def test_one_change_is_another_key_unless_it_is_denied(
    pair: tuple[dict[str, Any], dict[str, Any]], large: bool
) -> None:
    one, other = (written(each, large=large) for each in pair)
    if keyed(pair[0]) != keyed(pair[1]):
        assert key(one) != key(other)
    else:
        assert key(one) == key(other)


@given(requests, sizes, st.dictionaries(st.sampled_from(sorted(NOT_KEYED)), values))
def test_what_is_denied_changes_nothing_at_the_top_alone(
    request: dict[str, Any], large: bool, denied: dict[str, Any]
) -> None:
    plain = {name: value for name, value in request.items() if name not in NOT_KEYED}
    assert key(written(plain, large=large)) == key(written({**plain, **denied}, large=large))
    if denied:
        nested = [written({**plain, "inner": inner}, large=large) for inner in ({}, denied)]
        assert key(nested[0]) != key(nested[1])


@given(requests, sizes, st.tuples(text, text, text), st.tuples(text, text, text))
def test_another_tenant_model_or_namespace_is_another_key(
    request: dict[str, Any], large: bool, one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    raw = written(request, large=large)
    keys = [key(raw, tenant=each[0], model=each[1], namespace=each[2]) for each in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)
