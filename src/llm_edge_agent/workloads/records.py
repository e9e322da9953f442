"""The log of requests, one JSON object a line:

    {"request": {…}, "time": 12.5, "tenant": "acme", "usage": {"prompt_tokens": 420, "completion_tokens": 80},
     "cost_usd": 0.00056}

`request` is the body of a chat completion request. The others may be missing: without times the requests count as
simultaneous, without a tenant they are one tenant's; cost is taken from `cost_usd`, else worked out from `usage`, else
from an estimate of four characters to a token.
"""

from collections.abc import Iterable, Iterator

import msgspec


class LoggedUsage(msgspec.Struct, frozen=True, omit_defaults=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class LoggedRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line."""

    request: msgspec.Raw
    time: float | None = None
    """Seconds, from any beginning."""
    tenant: str = "default"
    usage: LoggedUsage | None = None
    cost_usd: float | None = None


class LogError(ValueError):
    """A line that is no record. The message names the line and quotes nothing of it."""


_decoder = msgspec.json.Decoder(LoggedRequest)
_encoder = msgspec.json.Encoder()


def read_log(lines: Iterable[bytes]) -> Iterator[LoggedRequest]:
    """The records of a log; empty lines are skipped. Raises LogError."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise LogError(f"line {number} is no record of a request") from None
        yield record


def write_line(record: LoggedRequest) -> bytes:
    return _encoder.encode(record) + b"\n"


def logged(body: dict[str, object], *, time_s: float, prompt_characters: int, completion_tokens: int) -> LoggedRequest:
    """A made-up request, its usage by the rule of four characters to a token."""
    usage = LoggedUsage(-(-prompt_characters // 4), completion_tokens)
    return LoggedRequest(request=msgspec.Raw(_encoder.encode(body)), time=round(time_s, 3), usage=usage)
