from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.cache_key import NOT_KEYED, cache_key

parts = st.tuples(*[st.text(max_size=6) for _ in range(5)], st.binary(max_size=4), st.binary(max_size=12))


def key(values: tuple[str, str, str, str, str, bytes, bytes]) -> bytes:
    tenant, epoch, endpoint, model, namespace, passed, material = values
    return cache_key(
        tenant=tenant,
        epoch=epoch,
        endpoint=endpoint,
        model=model,
        namespace=namespace,
        passed=passed,
        material=material,
    )


@given(parts, parts)
def test_keys_are_equal_exactly_where_all_parts_are(
    one: tuple[str, str, str, str, str, bytes, bytes], other: tuple[str, str, str, str, str, bytes, bytes]
) -> None:
    assert (key(one) == key(other)) == (one == other)
    assert len(key(one)) == 32


def test_parts_cannot_run_into_each_other() -> None:
    assert key(("a", "b", "", "", "", b"", b"")) != key(("ab", "", "", "", "", b"", b""))
    assert key(("a\x001:b", "", "", "", "", b"", b"")) != key(("a", "b", "", "", "", b"", b""))
    assert key(("", "", "", "", "x", b"", b"|y")) != key(("", "", "", "", "x|", b"", b"y"))
    assert key(("", "", "", "", "", b"1", b":2")) != key(("", "", "", "", "", b"1:", b"2"))


def test_the_deny_list_is_the_published_one() -> None:
    assert {
        "model",
        "stream",
        "stream_options",
        "user",
        "metadata",
        "store",
        "safety_identifier",
        "prompt_cache_key",
    } == NOT_KEYED
