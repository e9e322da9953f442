"""What an operator allows a deployment per minute, and which of an account's keys may be used."""

import math


class KeyPool:
    """The keys of one account, by number, shared by all deployments that use it."""

    __slots__ = ("set_aside_until_s", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.set_aside_until_s = [0.0] * size
        """Per key: until when it is dead or out of quota, wherever it is used."""


class Quota:
    """Requests and tokens per minute, each a bucket that fills evenly and holds a minute's worth. Prompt tokens are
    taken by estimate when a call begins, the rest when it is billed, so the level may go below nothing."""

    __slots__ = ("_at_s", "_pending", "_requests", "_rpm", "_tokens", "_tpm", "free_at_s")

    def __init__(self, *, rpm: int | None = None, tpm: int | None = None) -> None:
        self._rpm = rpm if rpm is not None else math.inf
        self._tpm = tpm if tpm is not None else math.inf
        self._requests = float(self._rpm)
        self._tokens = float(self._tpm)
        self._at_s = 0.0
        self.free_at_s = 0.0
        """When the next call fits."""

    @property
    def limits(self) -> tuple[float, float]:
        """Requests and tokens per minute."""
        return self._rpm, self._tpm

    def begin(self, now_s: float, tokens: int) -> None:
        """A call begins with a prompt of about so many tokens."""
        self._fill(now_s)
        self._requests -= 1
        self._tokens -= tokens
        self._settle(now_s)

    def ended(self, now_s: float, more_tokens: int) -> None:
        """The call was billed for so many tokens more than `begin` took."""
        self._fill(now_s)
        self._tokens -= more_tokens
        self._settle(now_s)

    def _fill(self, now_s: float) -> None:
        minutes = (now_s - self._at_s) / 60
        self._at_s = now_s
        self._requests = min(self._rpm, self._requests + self._rpm * minutes)
        self._tokens = min(self._tpm, self._tokens + self._tpm * minutes)

    def _settle(self, now_s: float) -> None:
        wait_min = 0.0
        if self._requests < 1:
            wait_min = (1 - self._requests) / self._rpm
        if self._tokens <= 0:
            wait_min = max(wait_min, (1 - self._tokens) / self._tpm)
        self.free_at_s = now_s + 60 * wait_min if wait_min else 0.0
