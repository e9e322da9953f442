"""Opening a connection: names to addresses, addresses raced, a tunnel through the proxy, TLS. Every error has a reason.

The caller bounds the whole with a timeout and may cancel; no socket is left behind.
"""

import asyncio
import os
import socket
import ssl
from asyncio import FIRST_COMPLETED, AbstractEventLoop, Task
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeVar

from llm_edge_agent.http.origins import FailureReason, UpstreamFailure
from llm_edge_agent.http.proxies import ProxySettings
from llm_edge_agent.http.tasks import spawn

RACE_DELAY_S = 0.25
"""Head start of each address over the next (RFC 8305, section 5)."""
MAX_PROXY_HEAD_BYTES = 16 * 1024

_P = TypeVar("_P", bound=asyncio.Protocol)
_Address = tuple[socket.AddressFamily, Any]


def tls_context(ssl_cert_file: str | None) -> ssl.SSLContext:
    """TLS 1.2 or later, certificates and names always verified against the system's store and, where given, the PEM
    file `ssl_cert_file`. Raises OSError (ssl.SSLError is one) where that file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ssl_cert_file:
        context.load_verify_locations(cafile=ssl_cert_file)
    return context


async def dial(
    factory: Callable[[], _P], host: str, port: int, tls: ssl.SSLContext | None, proxy: ProxySettings | None
) -> _P:
    """A protocol made by `factory`, connected to the origin; `tls` None means in clear. Raises UpstreamFailure."""
    loop = asyncio.get_running_loop()
    if proxy is None:
        sock = await _connect(loop, host, port)
    else:
        sock = await _tunnel(loop, proxy, host, port)
    try:
        if tls is None:
            _, protocol = await loop.create_connection(factory, sock=sock)
        else:
            _, protocol = await loop.create_connection(factory, sock=sock, ssl=tls, server_hostname=host)
    except ssl.SSLError as error:
        raise UpstreamFailure(FailureReason.TLS, _tls_reason(error)) from None
    except OSError as error:
        if tls is None:
            raise UpstreamFailure(FailureReason.CONNECT, _os_reason(error)) from None
        raise UpstreamFailure(FailureReason.TLS, "the connection ended during the TLS handshake") from None
    return protocol


async def _connect(loop: AbstractEventLoop, host: str, port: int) -> socket.socket:
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (socket.gaierror, UnicodeError):
        raise UpstreamFailure(FailureReason.DNS, "the host name cannot be resolved") from None
    try:
        return await _race(loop, _interleaved([(family, address) for family, _, _, _, address in found]))
    except OSError as error:
        raise UpstreamFailure(FailureReason.CONNECT, _os_reason(error)) from None


def _interleaved(addresses: Sequence[_Address]) -> list[_Address]:
    """The resolver's order, families alternating: one that leads nowhere then costs one head start, not all."""
    first = [each for each in addresses if each[0] == addresses[0][0]]
    second = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, second)) if each is not None]


async def _race(loop: AbstractEventLoop, addresses: Sequence[_Address]) -> socket.socket:
    """The first socket that connects; the others are closed. Raises the last OSError where none does."""
    if len(addresses) == 1:
        return await _connect_one(loop, addresses[0])
    waiting = list(addresses)
    running: set[Task[socket.socket]] = set()
    error: OSError = OSError("no address")
    try:
        while waiting or running:
            if waiting:
                running.add(spawn(_connect_one(loop, waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=RACE_DELAY_S if waiting else None, return_when=FIRST_COMPLETED
            )
            winner: socket.socket | None = None
            for task in done:
                try:
                    sock = task.result()
                except OSError as reason:
                    error = reason
                else:
                    if winner is None:
                        winner = sock
                    else:
                        sock.close()
            if winner is not None:
                return winner
    finally:
        for task in running:
            task.add_done_callback(_close_late_winner)
            task.cancel()
    raise error


def _close_late_winner(task: Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect_one(loop: AbstractEventLoop, address: _Address) -> socket.socket:
    sock = socket.socket(address[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await loop.sock_connect(sock, address[1])
    except BaseException:
        sock.close()
        raise
    return sock


async def _tunnel(loop: AbstractEventLoop, proxy: ProxySettings, host: str, port: int) -> socket.socket:
    """A socket that leads to the origin through the proxy."""
    try:
        sock = await _connect(loop, proxy.host, proxy.port)
    except UpstreamFailure as failure:
        raise UpstreamFailure(FailureReason.PROXY, f"the proxy cannot be reached: {failure.detail}") from None
    try:
        try:
            name = host if host.isascii() else host.encode("idna").decode()
            target = (f"[{name}]:{port}" if ":" in name else f"{name}:{port}").encode("ascii")
            head = b"CONNECT " + target + b" HTTP/1.1\r\nhost: " + target + b"\r\n"
            if proxy.authorization is not None:
                head += b"proxy-authorization: " + proxy.authorization + b"\r\n"
            await loop.sock_sendall(sock, head + b"\r\n")
            _check_tunnel(await _proxy_answer(loop, sock))
        except OSError as error:
            raise UpstreamFailure(FailureReason.PROXY, f"the proxy broke off: {_os_reason(error)}") from None
    except BaseException:
        sock.close()
        raise
    return sock


async def _proxy_answer(loop: AbstractEventLoop, sock: socket.socket) -> bytes:
    """The head of the proxy's answer, up to its empty line, and what came with it."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = await loop.sock_recv(sock, 4096)
        answer += data
        if not data or len(answer) > MAX_PROXY_HEAD_BYTES:
            raise UpstreamFailure(FailureReason.PROXY, "the proxy gave no proper answer")
    return answer


def _check_tunnel(answer: bytes) -> None:
    head, _, excess = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
        raise UpstreamFailure(FailureReason.PROXY, "the proxy gave no proper answer")
    status = int(words[1])
    if not 200 <= status < 300:
        raise UpstreamFailure(FailureReason.PROXY, f"the proxy refused with status {status}")
    if excess:
        # In TLS the client speaks first: this is not the origin.
        raise UpstreamFailure(FailureReason.PROXY, "the proxy sent more than its answer")


def _os_reason(error: OSError) -> str:
    # Not `strerror`: event loops put addresses there.
    return os.strerror(error.errno).lower() if error.errno is not None else "connection failed"


def _tls_reason(error: ssl.SSLError) -> str:
    """A short text from OpenSSL's own tables, never the peer's bytes."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message.split(',')[0].lower()}"
    return (error.reason or "TLS handshake failed").lower().replace("_", " ")
