"""What tests ask of the simulator itself, under `/simulator/`: what it billed, what it saw, and how it is to behave."""

from dataclasses import asdict
from typing import Any, Protocol
from urllib.parse import parse_qs

import msgspec

from llm_edge_agent.http.messages import Complete, Request, header_block
from llm_edge_agent.simulator.behaviour import Behaviour
from llm_edge_agent.simulator.exchange_log import ExchangeLog
from llm_edge_agent.simulator.records import Bills
from llm_edge_agent.simulator.wire import to_json

PREFIX = "/simulator/"
_JSON = header_block([("content-type", "application/json")])


class Controlled(Protocol):
    """The simulator as its control needs it."""

    billed: Bills
    exchanges: ExchangeLog
    behaviour: Behaviour
    open_exchanges: int

    def behave(self, behaviour: Behaviour) -> None: ...


class Control:
    """Answers the requests of whoever runs the simulator. Nothing of it is recorded or billed."""

    def __init__(self, simulator: Controlled) -> None:
        self._simulator = simulator

    def reply(self, request: Request) -> Complete:
        match request.method, request.path.removeprefix(PREFIX):
            case "GET", "billing":
                return self._billing(request.query)
            case "GET", "exchanges":
                return _found(
                    {"exchanges": self._simulator.exchanges.to_json(), "open": self._simulator.open_exchanges}
                )
            case "GET", "behaviour":
                return _found(msgspec.to_builtins(self._simulator.behaviour))
            case "POST", "behaviour":
                return self._change(request.body)
            case "DELETE", "billing":
                self._simulator.billed.clear()
                return _found({})
            case "DELETE", "exchanges":
                self._simulator.exchanges.clear()
                return _found({})
            case "DELETE", "behaviour":
                return self._set(Behaviour())
            case _:
                return _refused(404, "billing, exchanges or behaviour: GET or DELETE; behaviour also POST")

    def _billing(self, query: str) -> Complete:
        """The bills after the first `?after=N` ever made (0), with their number; the oldest may be forgotten."""
        try:
            after = int(parse_qs(query).get("after", ["0"])[0])
        except ValueError:
            return _refused(400, "after: expected a number")
        billed = [asdict(bill) for bill in self._simulator.billed.after(after)]
        return _found({"billed": billed, "total": self._simulator.billed.total, "open": self._simulator.open_exchanges})

    def _change(self, body: bytes) -> Complete:
        try:
            return self._set(self._simulator.behaviour.changed(msgspec.json.decode(body)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _refused(400, str(error))

    def _set(self, behaviour: Behaviour) -> Complete:
        self._simulator.behave(behaviour)
        return _found(msgspec.to_builtins(behaviour))


def _found(value: Any) -> Complete:
    return Complete(200, _JSON, to_json(value))


def _refused(status: int, message: str) -> Complete:
    return Complete(status, _JSON, to_json({"error": message}))
