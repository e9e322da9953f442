"""Where an upstream lives and how long we wait for it: values the client leg takes as arguments."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit


class Origin(NamedTuple):
    """Scheme, host and port of an upstream; `prefix` is the path of its base URL without a trailing slash. A tuple,
    because every request looks its origin up."""

    tls: bool
    host: str
    port: int
    prefix: str = ""

    @staticmethod
    def from_url(url: str) -> "Origin":
        """Parses a base URL. Raises ValueError (without echoing the URL: it may hold a password) where it is not
        http or https, has no host, carries user info, a query or a fragment, or an impossible port."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("not a valid URL") from None
        if parts.scheme not in ("http", "https"):
            raise ValueError("must start with http:// or https://")
        if not parts.hostname:
            raise ValueError("has no host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("must not carry user name or password")
        if parts.query or parts.fragment:
            raise ValueError("must not carry a query or fragment")
        tls = parts.scheme == "https"
        return Origin(tls, parts.hostname, port or (443 if tls else 80), parts.path.rstrip("/"))

    @property
    def host_header(self) -> str:
        """Value of the Host field: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds of one upstream exchange, in seconds. `answer_s` runs from the call to the end of a whole answer, or to
    the first body byte of a streamed one; `idle_s` rules the silences of a stream after that."""

    connect_s: float
    answer_s: float
    idle_s: float


class FailureReason(Enum):
    """Why an upstream exchange failed. A closed list: metrics and error mapping are tables over it."""

    DNS = "dns"
    CONNECT = "connect"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    PROXY = "proxy"
    CLOSED = "closed"
    """The connection ended before the answer did, or before it began."""
    PROTOCOL = "protocol"
    """What came was not HTTP/1.x, or broke its framing."""
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    IDLE_TIMEOUT = "idle_timeout"
    ENCODING = "encoding"
    """A content coding we did not ask for or cannot decode."""
    SHUTDOWN = "shutdown"


class UpstreamFailure(Exception):
    """Raised by the client leg. `detail` is safe to show: no URL, no credentials, no upstream bytes."""

    def __init__(self, reason: FailureReason, detail: str, *, received: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.received = received
        """Whether any byte of the answer had arrived (then nothing may be retried)."""
        self.status = 0
        """Of the answer, where its head had arrived."""


class Receiver(Protocol):
    """Who takes a streamed upstream body, pushed from the connection's own callback: no task, no queue."""

    def data(self, chunk: bytes) -> None: ...

    def end(self) -> None:
        """The body is complete by its framing. Called at most once, and then neither `data` nor `failed`."""
        ...

    def failed(self, failure: UpstreamFailure) -> None:
        """The body broke off. Called at most once, and then neither `data` nor `end`."""
        ...
