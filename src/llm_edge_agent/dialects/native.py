"""What all native doors have in common: a request is read no further than the gateway must, a refusal handed through.

The body goes on as the client's own bytes. Of its members only those are typed that decide what the gateway does;
everything else is the provider's business, unknown members included.
"""

from collections.abc import Collection, Mapping
from typing import TypeVar

import msgspec

from llm_edge_agent.core import strict_json
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.strict_json import Body
from llm_edge_agent.dialects.chat import type_error, with_model
from llm_edge_agent.dialects.endpoint import Call, Passed
from llm_edge_agent.dialects.provider_errors import retry_after_s
from llm_edge_agent.dialects.provider_json import decode

T = TypeVar("T")


class NativeRequest(msgspec.Struct):
    """The members that decide."""

    model: str
    stream: bool | None = None


_request_decoder = msgspec.json.Decoder(NativeRequest)
_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_call(raw: bytes, *, max_depth: int, streams: bool = True) -> Call:
    """Checks a request body once. `streams` False: the door knows no streams, whatever `stream` says. Raises
    GatewayError (400), naming the member at fault in `param`."""
    body, request = read_members(_request_decoder, raw, max_depth=max_depth)
    return Call(body, request.model, streams and bool(request.stream))


def read_members(decoder: "msgspec.json.Decoder[T]", raw: bytes, *, max_depth: int) -> tuple[Body, T]:
    """The body, read strictly, and those of its members that decide. Raises as `read_call`."""
    body = strict_json.read_object(raw, max_depth=max_depth)
    try:
        return body, decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise type_error(str(error), body.value) from None


def renamed(call: Call, upstream_model: str) -> bytes:
    """The body for the upstream: the client's bytes, but for the model's name where an alias changes it."""
    if upstream_model == call.model:
        return call.body.raw
    return with_model(call.body.raw, upstream_model)


def passed_lines(names: Collection[bytes], headers: Mapping[bytes, bytes]) -> bytes:
    """Those of the client's headers that go upstream as sent, as ready lines."""
    return b"".join([b"%b: %b\r\n" % (name, headers[name]) for name in names if name in headers])


def path(base: bytes, passed: Passed) -> bytes:
    return b"%b?%b" % (base, passed.query) if passed.query else base


def is_json_object(body: bytes) -> bool:
    """Whether a provider's body is JSON of a kind that may be handed through: an object, in UTF-8."""
    try:
        decode(_object_decoder, body)
    except GatewayError:
        return False
    return True


def relayed_refusal(
    read: GatewayError, status: int, headers: Mapping[bytes, bytes], body: bytes, *, now_unix_s: float
) -> GatewayError:
    """A provider's refusal for a client of the same dialect: its own status, its own JSON, its own advice on trying
    again. `read` is the refusal as the gateway understands it. What is about the gateway's own key stays in the
    gateway's words, and so does what is no JSON."""
    if read.kind is ErrorKind.UPSTREAM_AUTH or not 400 <= status < 600:
        return read
    read.status = status
    read.retry_after_s = retry_after_s(headers, now_unix_s)
    read.should_retry = {b"true": True, b"false": False}.get(headers.get(b"x-should-retry", b"").lower())
    if is_json_object(body):
        read.verbatim = body
    return read
