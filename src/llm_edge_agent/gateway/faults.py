"""Where the gateway itself is at fault: an exception that nobody foresaw."""

import logging
import traceback

from llm_edge_agent.core.errors import ErrorKind, GatewayError

_log = logging.getLogger("llm_edge_agent.faults")


def let_go(error: BaseException | None) -> None:
    """Drops the tracebacks of an error that was dealt with, and of its causes: their frames hold the request, and often
    the error itself, so that only the collector, which runs seldom, would free a body of megabytes."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def internal_error(error: Exception, request_id: str) -> GatewayError:
    """Logs what kind of exception it was and where it came from, and words it for the client. Its message is told to
    nobody: it may quote the request."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    extra = {"event": "internal_error", "request_id": request_id}
    _log.error("unexpected %s in request %s\n%s", type(error).__name__, request_id, frames, extra=extra)
    return GatewayError(ErrorKind.INTERNAL, "The gateway failed to process the request.")
