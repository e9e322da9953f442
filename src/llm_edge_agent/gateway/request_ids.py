"""Request ids: unique over processes by a random prefix, cheap by a counter."""

import secrets
from itertools import count


class RequestIds:
    """Makes ids of 20 hex digits, valid in headers and logs as they are."""

    __slots__ = ("_numbers", "_prefix")

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = count(1)

    def next(self) -> str:
        return f"{self._prefix}{next(self._numbers):08x}"
