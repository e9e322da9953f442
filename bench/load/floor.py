"""The least that a proxy in Python costs on this machine: uvloop, llhttp on both legs, a pool of idle connections, and
nothing else. No check, no deadline, no error is handled; it is a yardstick, not a gateway.

    python -m bench.load.floor PORT UPSTREAM_PORT
"""

import asyncio
import sys
from typing import Any

import httptools
import uvloop


class Leg(asyncio.Protocol):
    """One connection whose messages are gathered whole."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.parser: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def take(self) -> bytes:
        body = b"".join(self.pieces)
        self.pieces.clear()
        return body


class Upstream(Leg):
    def __init__(self, idle: "list[Upstream]") -> None:
        super().__init__()
        self.parser = httptools.HttpResponseParser(self)
        self.idle = idle
        self.client: Client | None = None

    def on_message_complete(self) -> None:
        self.idle.append(self)
        client, self.client = self.client, None
        body = self.take()
        if client is not None:
            client.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )


class Client(Leg):
    def __init__(self, idle: list[Upstream], upstream_port: int) -> None:
        super().__init__()
        self.parser = httptools.HttpRequestParser(self)
        self.idle = idle
        self.upstream_port = upstream_port

    def on_message_complete(self) -> None:
        body = self.take()
        request = (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer sk-bench\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        if self.idle:
            self.send(self.idle.pop(), request)
        else:
            self.connecting = asyncio.ensure_future(self.connect(request))

    async def connect(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(lambda: Upstream(self.idle), "127.0.0.1", self.upstream_port)
        self.send(upstream, request)

    def send(self, upstream: Upstream, request: bytes) -> None:
        upstream.client = self
        upstream.transport.write(request)


async def main(port: int, upstream_port: int) -> None:
    idle: list[Upstream] = []
    server = await asyncio.get_running_loop().create_server(lambda: Client(idle, upstream_port), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
