"""Real redis-servers on free loopback ports: alone, as a cluster, under Sentinels. Nothing is written to disk but
their own configuration, in a folder of the test's."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tests import ports
from tests.programs import program

START_S = 15.0
BUS = 10_000


def free_port() -> int:
    """A port that is free, and so is its neighbour 10,000 above, a cluster's bus."""
    while True:
        port = ports.free_port(ports.LAST - BUS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port + BUS))
            return port


class RedisServer:
    """One redis-server. `start` again after `kill` begins empty on the same port."""

    def __init__(self, folder: Path, *settings: str, port: int | None = None, binary: str = "redis-server") -> None:
        self.port = port if port is not None else free_port()
        self._folder = folder / f"{binary}-{self.port}"
        self._folder.mkdir(parents=True)
        # Not in its folder: the path of a socket has room for 107 characters, and a test's folder may take them all.
        self.socket = Path(tempfile.gettempdir()) / f"redis-of-tests-{self.port}.sock"
        self._settings = settings
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        common = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        if self._binary == "redis-server":
            own = [
                "--unixsocket",
                str(self.socket),
                "--save",
                "",
                "--appendonly",
                "no",
                "--repl-diskless-sync-delay",
                "0",
            ]
            argv = [program(self._binary), *common, *own, *self._settings]
        else:
            config = self._folder / "sentinel.conf"
            config.write_text("\n".join((f"port {self.port}", "bind 127.0.0.1", *self._settings)) + "\n")
            argv = [program(self._binary), str(config)]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait()

    def wait(self) -> None:
        deadline_s = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return
            assert time.monotonic() < deadline_s, "redis-server did not start"
            time.sleep(0.01)

    def client(self, password: str | None = None) -> Redis:
        """To look at what lies there, and to spoil it."""
        return Redis(port=self.port, password=password, socket_timeout=5.0)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)


@contextlib.contextmanager
def redis_server(folder: Path, *settings: str) -> Iterator[RedisServer]:
    server = RedisServer(folder, *settings)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def redis_cluster(folder: Path, *, replicas: bool = False) -> Iterator[list[RedisServer]]:
    """Three primaries with all slots, each with a replica if asked for: primaries first."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no")
    servers = [RedisServer(folder, *options) for _ in range(6 if replicas else 3)]
    try:
        for server in servers:
            server.start()
        clients = [server.client() for server in servers]
        for client in clients[1:]:
            asked(clients[0], "CLUSTER MEET", "127.0.0.1", servers[clients.index(client)].port)
        for index, (first, last) in enumerate(((0, 5460), (5461, 10922), (10923, 16383))):
            asked(clients[index], "CLUSTER ADDSLOTSRANGE", first, last)
        _until(lambda: all(_knows(client, len(servers)) for client in clients))
        if replicas:
            for index in range(3):
                primary = asked(clients[index], "CLUSTER MYID").decode()
                asked(clients[3 + index], "CLUSTER REPLICATE", primary)
            _until(lambda: all(_has_replica(client) for client in clients[:3]))
        _until(lambda: all(asked(client, "CLUSTER INFO")["cluster_state"] == "ok" for client in clients))
        for client in clients:
            client.close()
        yield servers
    finally:
        for server in servers:
            server.kill()


def asked(client: Redis, *parts: str | bytes | int) -> Any:
    """What redis-py has no method for. Two words as one name: its answer comes in a form of redis-py's."""
    return client.execute_command(*parts)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped


def _knows(client: Redis, nodes: int) -> bool:
    return int(asked(client, "CLUSTER INFO")["cluster_known_nodes"]) == nodes


def _has_replica(client: Redis) -> bool:
    """Whether one is there that has everything: only such a one can take over."""
    return bool(client.info("replication")["slave0"]["state"] == "online")


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + START_S
    while True:
        with contextlib.suppress(RedisError, KeyError):
            if condition():
                return
        assert time.monotonic() < deadline_s, "the servers did not come together"
        time.sleep(0.02)


class Watched:
    """A master with a replica, and three Sentinels that call it `answers`."""

    def __init__(self, master: RedisServer, replica: RedisServer, sentinels: list[RedisServer]) -> None:
        self.master = master
        self.replica = replica
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        nodes = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{nodes}/answers"


@contextlib.contextmanager
def redis_sentinels(folder: Path) -> Iterator[Watched]:
    master = RedisServer(folder)
    replica = RedisServer(folder, "--replicaof", "127.0.0.1", str(master.port))
    settings = (
        f"sentinel monitor answers 127.0.0.1 {master.port} 2",
        "sentinel down-after-milliseconds answers 500",
        "sentinel failover-timeout answers 2000",
    )
    sentinels = [RedisServer(folder, *settings, binary="redis-sentinel") for _ in range(3)]
    servers = [master, replica, *sentinels]
    try:
        for server in servers:
            server.start()
        with master.client() as client:
            _until(lambda: _has_replica(client))
        for sentinel in sentinels:
            with sentinel.client() as client:
                _until(
                    lambda client=client: (
                        [  # type: ignore[misc]  # mypy cannot infer the default
                            client.sentinel_master("answers")[count] for count in ("num-slaves", "num-other-sentinels")
                        ]
                        == [1, 2]
                    )
                )
        yield Watched(master, replica, sentinels)
    finally:
        for server in servers:
            server.kill()


@contextlib.asynccontextmanager
async def strange_server(answer: Callable[[bytes], bytes | None]) -> AsyncIterator[str]:
    """Something that listens where Redis should and says `answer(what it read)`; None: it closes. Yields its URL."""

    open_writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.add(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                said = answer(data)
                if said is None:
                    break
                writer.write(said)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
