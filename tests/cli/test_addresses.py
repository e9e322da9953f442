"""How listening addresses are shown and judged."""

import errno
import socket

import pytest

from llm_edge_agent.cli.addresses import is_loopback, listen_failure, reachable_url, url
from llm_edge_agent.simulator import SimulatorSettings, start_simulator
from tests.cli.programs import taken_port


@pytest.mark.parametrize(
    ("host", "loopback", "shown", "reached"),
    [
        ("127.0.0.1", True, "http://127.0.0.1:80", "http://127.0.0.1:80"),
        ("127.8.8.8", True, "http://127.8.8.8:80", "http://127.8.8.8:80"),
        ("::1", True, "http://[::1]:80", "http://[::1]:80"),
        ("LocalHost", True, "http://LocalHost:80", "http://LocalHost:80"),
        ("0.0.0.0", False, "http://0.0.0.0:80", "http://127.0.0.1:80"),
        ("::", False, "http://[::]:80", "http://[::1]:80"),
        ("", False, "http://0.0.0.0:80", "http://127.0.0.1:80"),
        ("gateway.internal", False, "http://gateway.internal:80", "http://gateway.internal:80"),
        ("192.0.2.1", False, "http://192.0.2.1:80", "http://192.0.2.1:80"),
    ],
)
def test_addresses(host: str, loopback: bool, shown: str, reached: str) -> None:
    assert (is_loopback(host), url(host, 80), reachable_url(host, 80)) == (loopback, shown, reached)


@pytest.mark.parametrize(
    ("error", "ports", "expected"),
    [
        (
            OSError(errno.EADDRINUSE, "Address in use (while attempting to bind on address ('::1', 9090, 0, 0))"),
            (8080, 9090),
            "cannot listen on ::1, port 9090: the port is in use; stop what listens there, or choose another with"
            " --port or --metrics-port",
        ),
        (OSError(errno.EACCES, "Permission denied"), (80, 0), "port 80: ports below 1024 need a privilege"),
        (OSError(errno.EADDRNOTAVAIL, "No"), (80,), "choose another with --host"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), (0,), "port any: Name or service not known"),
        (OSError("odd"), (8080, 9090), "port 8080 or 9090: OSError"),
    ],
)
def test_why_nothing_listens(error: OSError, ports: tuple[int, ...], expected: str) -> None:
    assert expected in listen_failure(error, "::1", *ports)


async def test_the_port_is_named_from_a_real_failure() -> None:
    with taken_port() as port, pytest.raises(OSError) as caught:
        await start_simulator(SimulatorSettings(), port=port)
    assert f"port {port}: the port is in use" in listen_failure(caught.value, "127.0.0.1", 1, 2)
