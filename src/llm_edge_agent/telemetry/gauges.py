"""Values that are asked for at each scrape, of this worker and, where there are several, of the others.

Most add up over workers (connections, requests being served); some are the same everywhere or matter at their worst
(a version, a breaker, a lag, a reload): of those the largest or the smallest counts.
"""

from collections.abc import Callable, Mapping
from operator import add
from typing import Any, Literal

import msgspec

from llm_edge_agent.telemetry.exposition import Labels

Merge = Literal["sum", "max", "min"]

_TOGETHER: Mapping[Merge, Callable[[float, float], float]] = {"sum": add, "max": max, "min": min}


class Published(msgspec.Struct):
    """What one worker says of itself."""

    pid: int
    gauges: dict[str, list[tuple[Labels, int | float]]] = {}
    facts: dict[str, Any] = {}
    """Whatever else the workers tell each other, by topic."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Published).decode


class GaugeBook:
    """The gauges of one worker."""

    def __init__(self) -> None:
        self._callbacks: dict[str, dict[Labels, Callable[[], float]]] = {}
        self._groups: dict[str, Callable[[], Mapping[Labels, float]]] = {}
        self._merges: dict[str, Merge] = {}

    def register(self, name: str, labels: Mapping[str, str], callback: Callable[[], float], merge: Merge) -> None:
        """The same name and labels again replace what was there."""
        self._callbacks.setdefault(name, {})[tuple(sorted(labels.items()))] = callback
        self._merges[name] = merge

    def register_group(self, name: str, callback: Callable[[], Mapping[Labels, float]], merge: Merge) -> None:
        """Every value of a name from one callback. The same name again replaces it."""
        self._groups[name] = callback
        self._merges[name] = merge

    def values(self) -> dict[str, dict[Labels, float]]:
        """Asks every callback. One that fails loses its sample, not the scrape."""
        found: dict[str, dict[Labels, float]] = {}
        for name, series in self._callbacks.items():
            values = found[name] = {}
            for labels, callback in series.items():
                try:
                    values[labels] = +callback()
                except Exception:  # noqa: S112  a broken gauge must not hide every other figure
                    continue
        for name, group in self._groups.items():
            try:
                found[name] = dict(group())
            except Exception:  # noqa: S112  likewise
                continue
        return found

    def merged(self, others: "list[Published]") -> dict[str, dict[Labels, float]]:
        """Own values with those of the other workers."""
        found = self.values()
        for other in others:
            for name, series in other.gauges.items():
                values = found.setdefault(name, {})
                together = _TOGETHER[self._merges.get(name, "sum")]
                for labels, value in series:
                    before = values.get(labels)
                    if before is None:
                        values[labels] = value
                    else:
                        values[labels] = together(before, value)
        return found


def encode(published: Published) -> bytes:
    return _encode(published)


def decode(text: bytes) -> Published | None:
    """None where a worker says nothing, or nothing that can be read."""
    if not text:
        return None
    try:
        return _decode(text)
    except msgspec.MsgspecError:
        return None
