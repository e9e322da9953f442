"""The inbound listener: accepts connections, drains them, stops. What happens on a connection: `connection`."""

import asyncio
import errno
import socket
import time
from collections.abc import Callable, Sequence

from llm_edge_agent.config import ServerLimits
from llm_edge_agent.http.connection import Connection
from llm_edge_agent.http.deadlines import running_sweep
from llm_edge_agent.http.inbound import Inbound
from llm_edge_agent.http.messages import Handler, Request
from llm_edge_agent.http.tasks import spawn

BACKLOG = 4096
FLUSH_S = 1.0
"""How long `stop` waits for the last replies to be taken once nothing is in flight."""
_ACCEPTS_IN_A_ROW = 128
_ACCEPT_PAUSE_S = 0.2
_POLL_S = 0.01
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Server:
    """Serves `handler` on one address. `start`, then `stop` once; all calls from the loop that started it."""

    def __init__(self, handler: Handler, limits: ServerLimits) -> None:
        self._handler = handler
        self._limits = limits
        self._inbound: Inbound | None = None
        self._listeners: list[socket.socket] = []
        self._resume: dict[socket.socket, asyncio.TimerHandle] = {}
        self._loop: asyncio.AbstractEventLoop
        self.accept_errors = 0
        """How often accepting failed for want of descriptors or memory; the next try came after a pause."""

    @property
    def port(self) -> int:
        """The port of the listener; RuntimeError while there is none."""
        if not self._listeners:
            raise RuntimeError("the server is not listening")
        port: int = self._listeners[0].getsockname()[1]
        return port

    @property
    def in_flight(self) -> int:
        """Requests between their complete head and the end of their reply."""
        return self._inbound.in_flight if self._inbound is not None else 0

    @property
    def connections(self) -> int:
        return len(self._inbound.connections) if self._inbound is not None else 0

    def requests(self) -> list[Request]:
        """Those in flight. Looks at every connection: for whoever asks now and then."""
        if self._inbound is None:
            return []
        return [request for each in self._inbound.connections if (request := each.request) is not None]

    @property
    def refused_connections(self) -> int:
        """Connections closed on arrival because `max_connections` were open."""
        return self._inbound.refused_connections if self._inbound is not None else 0

    async def start(self, host: str, port: int) -> None:
        """Listens on every address of `host` ('' and '::' are all of both families), port 0 being any free one.
        Raises OSError where that is not possible."""
        # The address of a listener is resolved once, before anybody is served.
        self.start_on(await asyncio.get_running_loop().run_in_executor(None, listen, host, port))

    def start_on(self, listeners: Sequence[socket.socket]) -> None:
        """As `start`, on sockets that listen already and do not block; the server closes them in the end."""
        self._loop = asyncio.get_running_loop()
        self._inbound = Inbound(self._handler, self._limits, running_sweep())
        self._listeners = list(listeners)
        for listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    def begin_drain(self) -> None:
        """From now on every reply ends its connection, and connections without a request are closed at once. The
        listener stays open, so that the handler can still say no."""
        if self._inbound is not None:
            self._inbound.begin_drain()

    async def stop(self, grace_s: float) -> None:
        """Drains, waits up to `grace_s` for the requests in flight, ends the rest (streams are aborted, requests are
        refused), flushes for up to FLUSH_S, and closes the listener and every connection."""
        inbound = self._inbound
        if inbound is None:
            return
        self.begin_drain()
        await _until(lambda: inbound.in_flight == 0, grace_s)
        inbound.closed = True
        self._stop_listening()
        for connection in list(inbound.connections):
            connection.shut_down()
        await _until(lambda: not inbound.connections, FLUSH_S)
        for connection in list(inbound.connections):
            connection.drop()
        # Connections that were killed are lost on the next rounds of the loop.
        await _until(lambda: not inbound.connections, FLUSH_S)

    def _stop_listening(self) -> None:
        for timer in self._resume.values():
            timer.cancel()
        self._resume.clear()
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()

    def _accept(self, listener: socket.socket) -> None:
        # Not the loop's own server: asyncio's logs every failure for want of descriptors, uvloop's tells nobody.
        for _ in range(_ACCEPTS_IN_A_ROW):
            try:
                client, _address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self.accept_errors += 1
                    self._loop.remove_reader(listener)
                    self._resume[listener] = self._loop.call_later(_ACCEPT_PAUSE_S, self._accept_again, listener)
                    return
                continue  # the client gave up before it was accepted
            client.setblocking(False)
            spawn(self._adopt(client))

    def _accept_again(self, listener: socket.socket) -> None:
        del self._resume[listener]
        self._loop.add_reader(listener, self._accept, listener)

    async def _adopt(self, client: socket.socket) -> None:
        inbound = self._inbound
        assert inbound is not None  # noqa: S101  there is a listener
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(lambda: Connection(inbound, self._loop), client)
        except OSError:
            client.close()


def listen(host: str, port: int, *, share_port: bool = False) -> list[socket.socket]:
    """Non-blocking listeners on every address of `host` ('' and '::' are all of both families), port 0 being any free
    one. `share_port`: other sockets of this user may listen there too, and the kernel spreads connections over all
    (SO_REUSEPORT). Raises OSError, with nothing left open."""
    if host in ("", "::"):
        dual_stack = socket.has_dualstack_ipv6()
        family, host = (socket.AF_INET6, "::") if dual_stack else (socket.AF_INET, "0.0.0.0")  # noqa: S104  asked for
        addresses = [(family, host)]
    else:
        dual_stack = False
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))
    listeners: list[socket.socket] = []
    try:
        for family, address in addresses:
            # reuse_address is what create_server sets on POSIX.
            listener = socket.create_server(
                (address, port),
                family=family,
                backlog=BACKLOG,
                reuse_port=share_port,
                dualstack_ipv6=dual_stack and family == socket.AF_INET6,
            )
            listener.setblocking(False)
            listeners.append(listener)
            port = port or listener.getsockname()[1]
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


async def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    # Polled: an event set from every reply would be paid for by every request, to be of use once.
    while not condition() and time.monotonic() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_S)
