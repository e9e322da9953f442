"""Where Redis is: one server, a Sentinel's master or a cluster, read from `REDIS_URL` and `REDIS_CLUSTER_NODES`.

    redis://[[user]:password@]host[:port][/db]            rediss:// the same over TLS
    unix://[[user]:password@]/path/to/socket[?db=0]
    redis+sentinel://[[user]:password@]host[:port],host[:port]/service[/db]
    redis+cluster://[[user]:password@]host[:port],host[:port]

Options after `?`: `db`, `ssl` (Sentinel and cluster), `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs`
(`required`, `none`), `ssl_check_hostname`, `sentinel_username`, `sentinel_password`. Passwords are percent-encoded.
"""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote

from llm_edge_agent.config import forms

Kind = Literal["server", "sentinel", "cluster"]

_KINDS: dict[str, Kind] = {
    "redis": "server",
    "rediss": "server",
    "unix": "server",
    "redis+sentinel": "sentinel",
    "redis+cluster": "cluster",
}
_DEFAULT_PORTS: dict[Kind, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_OPTIONS = ("db", "ssl", "sentinel_username", "sentinel_password", *_TLS_OPTIONS)


@dataclass(frozen=True, kw_only=True)
class RedisTls:
    """How to speak TLS to it."""

    ca_file: str | None = None
    """None: what the system trusts."""
    certificate_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    check_hostname: bool = True


@dataclass(frozen=True, kw_only=True)
class RedisAddress:
    """Where Redis is and how to get in. `str()` shows it without user, password and options."""

    kind: Kind = "server"
    nodes: tuple[tuple[str, int], ...] = ()
    """Host and port: of the server, of the Sentinels, of some nodes of the cluster. Empty for a Unix socket."""
    path: str | None = None
    """The Unix socket."""
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    database: int = 0
    service: str | None = None
    """What the Sentinels call the master."""
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    tls: RedisTls | None = None

    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return tuple(secret for secret in (self.password, self.sentinel_password) if secret)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}"
        scheme = {"server": "rediss" if self.tls else "redis"}.get(self.kind, f"redis+{self.kind}")
        tail = f"/{self.service}" if self.service is not None else ""
        return f"{scheme}://{','.join(_shown(node) for node in self.nodes)}{tail}"


def _shown(node: tuple[str, int]) -> str:
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def redis_address(text: str) -> RedisAddress:
    """The address that a URL names. Raises ValueError, which never quotes the URL: it may hold a password."""
    scheme, separator, rest = text.partition("://")
    kind = _KINDS.get(scheme.lower())
    if not separator or kind is None or not rest:
        raise ValueError(f"must start with one of {', '.join(f'{each}://' for each in _KINDS)}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a URL of plain visible characters (percent-encode the others)")
    scheme = scheme.lower()
    rest, _, query = rest.partition("?")
    options = _options(query)
    username, password, rest = _without_userinfo(rest)
    if scheme == "unix":
        if not rest.startswith("/"):
            raise ValueError("must name the socket by its whole path: unix:///path")
        database = _database(options.pop("db", ""))
        _refuse_rest(options)
        return RedisAddress(path=unquote(rest), username=username, password=password, database=database)
    hosts, _, tail = rest.partition("/")
    nodes = _nodes(hosts, _DEFAULT_PORTS[kind])
    service = None
    if kind == "sentinel":
        service, _, tail = tail.partition("/")
        service = unquote(service)
        if not service:
            raise ValueError("must name the service: redis+sentinel://host:port/service")
    elif kind == "server" and len(nodes) > 1:
        raise ValueError("names several hosts: use redis+sentinel:// or redis+cluster://")
    database = _database(options.pop("db", "") or tail.strip("/"))
    if kind == "cluster" and database:
        raise ValueError("a cluster has database 0 only")
    tls = _tls(options, on=scheme == "rediss" or _truth(options.pop("ssl", "false"), "ssl"))
    sentinel_username = options.pop("sentinel_username", None) if kind == "sentinel" else None
    sentinel_password = options.pop("sentinel_password", None) if kind == "sentinel" else None
    _refuse_rest(options)
    return RedisAddress(
        kind=kind,
        nodes=nodes,
        username=username,
        password=password,
        database=database,
        service=service,
        sentinel_username=sentinel_username,
        sentinel_password=sentinel_password,
        tls=tls,
    )


def cluster_nodes(text: str) -> RedisAddress:
    """A cluster by `host:port,host:port` (or `redis://` URLs of its nodes, of which the last user, password and TLS
    count for all). Raises ValueError."""
    nodes: list[tuple[str, int]] = []
    last = RedisAddress()
    for item in filter(None, (part.strip() for part in text.split(","))):
        if "://" in item:
            last = redis_address(item)
            if last.kind != "server" or last.path is not None:
                raise ValueError("must be host:port,host:port or redis:// URLs")
            nodes += last.nodes
        else:
            if "@" in item or "/" in item or "?" in item:
                raise ValueError("must be host:port,host:port or redis:// URLs")
            nodes += _nodes(item, _DEFAULT_PORTS["cluster"])
    if not nodes:
        raise ValueError("names no node")
    return RedisAddress(
        kind="cluster", nodes=tuple(nodes), username=last.username, password=last.password, tls=last.tls
    )


def _without_userinfo(rest: str) -> tuple[str | None, str | None, str]:
    """User, password and what follows them. A path cannot hold an `@` before the host, so the last one divides."""
    userinfo, at, after = rest.rpartition("@")
    if not at:
        return None, None, rest
    username, _, password = userinfo.partition(":")
    return unquote(username) or None, unquote(password) or None, after


def _nodes(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    nodes = []
    for item in text.split(","):
        name, port = item, default_port
        bare = item.rpartition("]")[2] if item.startswith("[") else item
        if ":" in bare:
            name, _, digits = item.rpartition(":")
            try:
                port = forms.whole(1, 65535)(digits)
            except ValueError:
                raise ValueError("has a port that is no number from 1 to 65535") from None
        try:
            nodes.append((forms.host(name or "localhost"), port))
        except ValueError:
            raise ValueError("has no valid host") from None
    return tuple(nodes)


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise ValueError(f"has an unknown option; known are {', '.join(_OPTIONS)}")
    return options


def _refuse_rest(options: dict[str, str]) -> None:
    if options:
        raise ValueError("has an option that does not go with its scheme")


def _database(text: str) -> int:
    try:
        return forms.whole(0, 100_000)(text) if text else 0
    except ValueError:
        raise ValueError("has a database that is no whole number") from None


def _truth(text: str, name: str) -> bool:
    try:
        return forms.boolean(text)
    except ValueError:
        raise ValueError(f"{name} must be true or false") from None


def _tls(options: dict[str, str], *, on: bool) -> RedisTls | None:
    given = {name: options.pop(name) for name in _TLS_OPTIONS if name in options}
    if not on:
        if given:
            raise ValueError("has options of TLS without rediss:// or ssl=true")
        return None
    verify = given.get("ssl_cert_reqs", "required").lower()
    if verify not in ("required", "none"):
        raise ValueError("ssl_cert_reqs must be required or none")
    return RedisTls(
        ca_file=given.get("ssl_ca_certs"),
        certificate_file=given.get("ssl_certfile"),
        key_file=given.get("ssl_keyfile"),
        verify=verify == "required",
        check_hostname=verify == "required" and _truth(given.get("ssl_check_hostname", "true"), "ssl_check_hostname"),
    )
