"""What a check comes to."""

from typing import Literal

import msgspec

Verdict = Literal["ok", "warning", "problem"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one check. `advice` says what to do about anything but `ok`."""

    subject: str
    check: str
    verdict: Verdict
    detail: str
    advice: str = ""
