from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.telemetry.families import (
    CACHE,
    ENDPOINTS,
    ERROR_TYPES,
    NONE,
    OTHER,
    STATUSES,
    Families,
    family_number,
)

PROVIDERS = tuple(f"provider-{i}" for i in range(15))
MODELS = tuple(f"model-{i}" for i in range(400))
FAMILIES = Families(PROVIDERS, MODELS)


@given(
    st.tuples(
        st.sampled_from(ENDPOINTS),
        st.sampled_from((*PROVIDERS, NONE, OTHER)),
        st.sampled_from((*MODELS, OTHER)),
        st.sampled_from(STATUSES),
        st.sampled_from(("true", "false")),
        st.sampled_from(CACHE),
    )
)
def test_a_key_holds_its_labels_and_fits_a_cell(labels: tuple[str, ...]) -> None:
    key = FAMILIES.requests.key(*labels)
    assert FAMILIES.requests.values(key) == labels
    assert FAMILIES.requests.owns(key)
    assert 0 <= key < 2**63


def test_no_two_rows_share_a_key() -> None:
    families = [value for value in vars(FAMILIES).values() if hasattr(value, "owns")]
    assert len({family.number for family in families}) == len(families)
    keys = [FAMILIES.errors.key(e, p, t) for e in ENDPOINTS for p in (*PROVIDERS, NONE, OTHER) for t in ERROR_TYPES]
    keys += [FAMILIES.spend.key(p, m) for p in (*PROVIDERS, NONE, OTHER) for m in (*MODELS, OTHER)]
    assert len(set(keys)) == len(keys)
    assert {family_number(key) for key in keys} == {FAMILIES.errors.number, FAMILIES.spend.number}


def test_every_failure_has_its_label_in_the_closed_list() -> None:
    assert {kind.value.label for kind in ErrorKind} <= set(ERROR_TYPES)


def test_the_fingerprint_tells_configurations_apart() -> None:
    base = Families(("a", "b"), ("m",)).fingerprint()
    assert base == Families(("a", "b", "a"), ("m", "m")).fingerprint()
    others = [Families(("b", "a"), ("m",)), Families(("a",), ("b", "m")), Families(("a", "b"), ("m", "n"))]
    assert len({base, *(other.fingerprint() for other in others)}) == 4
    assert 0 < base < 2**63
