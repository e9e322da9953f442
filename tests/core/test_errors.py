import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_has_a_complete_row(kind: ErrorKind) -> None:
    facets = kind.value
    assert 400 <= facets.status <= 599
    assert facets.type
    assert facets.label
    assert facets.fault in ("client", "upstream", "gateway")
    assert not (facets.blame and facets.fault != "upstream")
    assert not (facets.fault == "client" and facets.try_another)


def test_an_error_takes_its_kinds_facets_unless_told_otherwise() -> None:
    plain = GatewayError(ErrorKind.UPSTREAM_REJECTED, "no")
    assert (plain.status, plain.type, plain.code, plain.extra) == (400, "invalid_request_error", "invalid_value", {})
    told = GatewayError(
        ErrorKind.UPSTREAM_REJECTED, "no", status=422, type="t", code="c", param="p", extra={"provider": "x"}
    )
    assert (told.status, told.type, told.code, told.param, told.extra) == (422, "t", "c", "p", {"provider": "x"})


def test_an_error_is_concealed_in_every_part_that_a_client_sees() -> None:
    error = GatewayError(
        ErrorKind.UPSTREAM_REJECTED,
        "a KEY \ud800",
        type="KEY",
        code="KEY",
        param="KEY",
        extra={"id": "KEY", "upstream_status": 400},
        verbatim=b"\xffKEY",
    )
    error.conceal(lambda said: said.replace(b"KEY", b"*"))
    assert (error.message, error.type, error.code, error.param) == ("a * \ud800", "*", "*", "*")
    assert (error.extra, error.verbatim) == ({"id": "*", "upstream_status": 400}, b"\xff*")
    plain = GatewayError(ErrorKind.INTERNAL, "no", code=None)
    plain.conceal(lambda said: said)
    assert (plain.param, plain.verbatim) == (None, None)
