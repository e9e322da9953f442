"""Listening addresses, as a person reads them."""

import errno
import ipaddress
import re

_ANY_HOST = ("", "0.0.0.0", "::")  # noqa: S104  compared with, not bound to


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener on `host`."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url(host: str, port: int) -> str:
    """The address of a listener, without a trailing slash."""
    shown = host or "0.0.0.0"  # noqa: S104  shown, not bound to
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def reachable_url(host: str, port: int) -> str:
    """Where a listener on `host` answers a client on the same machine."""
    if host in _ANY_HOST:
        host = "::1" if host == "::" else "127.0.0.1"
    return url(host, port)


def listen_failure(error: OSError, host: str, *ports: int) -> str:
    """Why one of the `ports` could not be listened on, and what to do."""
    # The standard library puts the address into the text, and nowhere else.
    named = re.search(r"address \(.*?, (\d+)", error.strerror or "")
    where = named[1] if named else " or ".join(str(port) for port in ports if port) or "any"
    options = "--port" if len([port for port in ports if port]) < 2 else "--port or --metrics-port"
    if error.errno == errno.EADDRINUSE:
        reason = f"the port is in use; stop what listens there, or choose another with {options}"
    elif error.errno == errno.EACCES:
        reason = f"ports below 1024 need a privilege; choose another with {options}"
    elif error.errno == errno.EADDRNOTAVAIL:
        reason = "this machine has no such address; choose another with --host"
    else:
        reason = error.strerror or type(error).__name__
    return f"cannot listen on {host or '*'}, port {where}: {reason}"
