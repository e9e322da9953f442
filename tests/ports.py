"""Ports for programs that must be told theirs: with port 0 nobody else would know it before they have started."""

import random
import socket

# Below what Linux and the BSDs give to outgoing connections, of which another test's may take a port meanwhile.
FIRST, LAST = 20_000, 32_767

# Of its own: the tests' random order seeds the shared one alike in every worker.
_chance = random.SystemRandom()


def free_port(last: int = LAST) -> int:
    """A loopback port up to `last` on which nobody listens, and nobody will who has not chosen it here."""
    while True:
        port = _chance.randint(FIRST, last)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
