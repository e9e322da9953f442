"""Which upstreams are reached through the HTTPS proxy, and how we introduce ourselves to it."""

import ipaddress
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class _Exception:
    """One entry of NO_PROXY: a network or a host suffix (empty: every host), and maybe one port."""

    network: _Network | None
    suffix: str
    port: int | None

    def covers(self, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address is not None and address in self.network
        if not self.suffix:
            return True
        return address is None and (host == self.suffix or host.endswith(f".{self.suffix}"))


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """An HTTP proxy that tunnels (CONNECT) to https origins. http origins are always reached directly."""

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)
    """Value of Proxy-Authorization."""
    exceptions: tuple[_Exception, ...] = ()

    @staticmethod
    def from_config(https_proxy: str | None, no_proxy: tuple[str, ...]) -> "ProxySettings | None":
        """None where there is no proxy. `https_proxy`: `[http://][user:password@]host[:port]`, port 80 by default.

        Entries of `no_proxy`: `*`; a host, which covers its subdomains too (a leading dot or `*.` makes no
        difference); an IP address or CIDR network, for origins that are addresses; each with `:port` if need be.
        Raises ValueError, without echoing what it was given: the URL may hold a password.
        """
        if not https_proxy:
            return None
        try:
            parts = urlsplit(https_proxy if "://" in https_proxy else f"http://{https_proxy}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("not a valid URL") from None
        if parts.scheme != "http":
            raise ValueError("must start with http:// (the proxy itself is spoken to in clear; the tunnel is TLS)")
        if not host:
            raise ValueError("has no host")
        authorization = None
        if parts.username is not None:
            credentials = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
            authorization = b"Basic " + b64encode(credentials)
        exceptions = tuple(_exception(entry.strip()) for entry in no_proxy if entry.strip())
        return ProxySettings(host, port or 80, authorization, exceptions)

    def applies(self, host: str, port: int) -> bool:
        """Whether an https origin is reached through the proxy."""
        host = host.lower().rstrip(".")
        address = _address(host)
        return not any(exception.covers(host, address, port) for exception in self.exceptions)


def _exception(entry: str) -> _Exception:
    host, port = entry.lower(), None
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        if rest.startswith(":") and rest[1:].isdecimal():
            port = int(rest[1:])
    elif host.count(":") == 1:
        name, _, digits = host.partition(":")
        if digits.isdecimal():
            host, port = name, int(digits)
    if host == "*":
        return _Exception(None, "", port)
    try:
        return _Exception(ipaddress.ip_network(host, strict=False), "", port)
    except ValueError:
        suffix = host.removeprefix("*").strip(".")
        if not suffix:
            raise ValueError("an entry of the exceptions is neither a host nor an address") from None
        return _Exception(None, suffix, port)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
