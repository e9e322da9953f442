"""The process figures of all workers together."""

import os
from collections.abc import Callable, Iterator

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llm_edge_agent.telemetry.gauges import Published


class ProcessesCollector(Collector):
    """prometheus-client's process figures, added up over the workers; the start is that of the eldest."""

    def __init__(self, peers: Callable[[], list[Published]]) -> None:
        self._peers = peers

    def collect(self) -> Iterator[Metric]:
        found: dict[str, Metric] = {}
        for pid in (os.getpid(), *(peer.pid for peer in self._peers())):
            for metric in _figures(pid):
                known = found.setdefault(metric.name, metric)
                if known is not metric:
                    value = _together(metric.name, known.samples[0].value, metric.samples[0].value)
                    known.samples = [known.samples[0]._replace(value=value)]
        yield from found.values()


def _figures(pid: int) -> list[Metric]:
    """Of one process; nothing where it has just ended."""
    return [metric for metric in ProcessCollector(pid=lambda: pid, registry=None).collect() if metric.samples]


def _together(name: str, one: float, other: float) -> float:
    return min(one, other) if name == "process_start_time_seconds" else one + other
