"""A request that the provider refuses, before any dialect words it."""

from collections.abc import Sequence


class Refused(Exception):
    """`kind` is the error type in the words of the dialect; `param` exists in OpenAI's errors only; `code` is
    Anthropic's `error.details.error_code`."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code
        self.headers = tuple(headers)
