"""Forms of single values: text in, value out, or a ValueError that says what is wanted and never repeats the text."""

import re
from collections.abc import Callable
from ipaddress import ip_address
from math import isfinite
from typing import Literal
from urllib.parse import urlsplit

Form = Callable[[str], object]

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
Level = Literal["debug", "info", "warning", "error"]
_LEVELS: dict[str, Level] = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
    "critical": "error",
    "off": "error",
}


def boolean(text: str) -> bool:
    """true or false, in the ways people write it."""
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError("must be true or false")
    return value


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def mebibytes(high: int) -> Callable[[str], int]:
    """A whole number of MiB from 1 to `high`, as bytes."""
    count = whole(1, high)
    return lambda text: count(text) * 2**20


def milliseconds(high: int) -> Callable[[str], float]:
    """A whole number of milliseconds from 1 to `high`, as seconds."""
    parse = whole(1, high)
    return lambda text: parse(text) / 1000


def seconds(high: int, *, zero: bool = False) -> Callable[[str], float]:
    """A number of seconds above 0 (or, with `zero`, from 0) up to `high`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not isfinite(value) or value > high or value < 0 or (value == 0 and not zero):
            raise ValueError(f"must be a number of seconds {'from 0' if zero else 'above 0,'} up to {high}")
        return value

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """One of some words, in any case; `-` is taken for `_`."""

    def parse(text: str) -> str:
        word = text.lower().replace("-", "_")
        if word not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return word

    return parse


def log_level(text: str) -> Level:
    """A level by any of its usual names."""
    level = _LEVELS.get(text.lower())
    if level is None:
        raise ValueError("must be one of debug, info, warning, error")
    return level


def rust_log(text: str) -> Level:
    """The package's level in a filter of the `RUST_LOG` kind, such as `info` or `warn,llm_edge_agent=debug`.

    The package's own directive wins over the bare level; those for other targets, its modules included, are accepted
    and have no effect. `trace` is debug; `off` is error: errors are never silenced.
    """
    default: Level = "info"
    own: Level | None = None
    for directive in filter(None, (part.strip() for part in text.split(","))):
        target, equals, word = directive.rpartition("=")
        level = _LEVELS.get(word.strip().lower())
        if level is None:
            raise ValueError("must be levels like info or llm_edge_agent=debug, separated by commas")
        if not equals:
            default = level
        elif target.strip().replace("-", "_") == "llm_edge_agent":
            own = level
    return own or default


def host(text: str) -> str:
    """A host name or an IP address, without brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        ip_address(bare)
    except ValueError:
        if not _HOST.fullmatch(text) or text.replace(".", "").isdecimal():
            raise ValueError("must be a host name or an IP address") from None
    return bare


def address(text: str) -> tuple[str, int]:
    """`host:port`."""
    name, separator, port = text.rpartition(":")
    if not separator or (":" in name and not name.startswith("[")):
        raise ValueError("must be host:port")
    try:
        return host(name), whole(0, 65535)(port)
    except ValueError:
        raise ValueError("must be host:port") from None


def base_url(text: str) -> str:
    """The address of an upstream: http or https, a host, maybe a port and a path, nothing else."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a URL of plain visible characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a valid URL") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    if not parts.hostname or port == 0:
        raise ValueError("has no host" if not parts.hostname else "is not a valid URL")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user name or password")
    if "?" in text or "#" in text:
        raise ValueError("must not carry a query or fragment")
    try:
        host(parts.hostname)
    except ValueError:
        raise ValueError("is not a valid URL") from None
    return text.rstrip("/")


def proxy_url(text: str) -> str:
    """An HTTP proxy: `[http://][user:password@]host[:port]`."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        name, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a valid URL") from None
    if parts.scheme != "http":
        raise ValueError("must start with http:// (the proxy itself is spoken to in clear; the tunnel is TLS)")
    if not name or port == 0 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must name a host")
    return text


def no_proxy(text: str) -> tuple[str, ...]:
    """Hosts, domains, addresses and networks that are reached directly, separated by commas or spaces."""
    entries = tuple(filter(None, re.split(r"[,\s]+", text)))
    for entry in entries:
        if entry.startswith("["):
            name = entry[1:].partition("]")[0]
        else:
            name = re.sub(r"^([^:]*):\d+$", r"\1", entry)
        if name != "*" and not name.removeprefix("*").strip("."):
            raise ValueError("must be hosts, addresses or networks, separated by commas")
    return entries


def plain_text(text: str) -> str:
    """Any text on one line."""
    if not text.isprintable():
        raise ValueError("must be text on one line")
    return text


def readable_file(text: str) -> str:
    """The path of a file with certificates that can be read."""
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=text)
    except ssl.SSLError:
        raise ValueError("names a file that holds no certificate in PEM form") from None
    except (OSError, ValueError):
        raise ValueError("names a file that cannot be read") from None
    return text


def key(text: str) -> str:
    """A key as it goes into a header: visible ASCII, no spaces inside."""
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("holds characters that no key has (a line break, a space or a letter outside ASCII)")
    return text


def header_name(text: str) -> str:
    """The name of a header."""
    if not _HEADER_NAME.fullmatch(text):
        raise ValueError("is not the name of a header")
    return text


def header_value(text: str) -> str:
    """The value of a header: printable ASCII."""
    if not re.fullmatch(r"[ -~]+", text) or text != text.strip():
        raise ValueError("is no value for a header (printable ASCII on one line, no space at its ends)")
    return text


def anthropic_version(text: str) -> str:
    """A version of Anthropic's API: a date."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise ValueError("must be a date like 2023-06-01")
    return text


def fallbacks(text: str) -> dict[str, tuple[str, ...]]:
    """`model=model[,model];…`: what to try when a model's own deployments fail."""
    chains: dict[str, tuple[str, ...]] = {}
    for part in filter(None, (each.strip() for each in text.split(";"))):
        model, _, others = part.partition("=")
        chain = tuple(each.strip() for each in others.split(","))
        if not model.strip() or not all(chain) or model.strip() in chains:
            raise ValueError("must be model=model[,model];… with each model once before its =")
        chains[model.strip()] = chain
    return chains


def workers(text: str) -> int | str:
    """A number of processes, or auto."""
    try:
        return "auto" if text.lower() == "auto" else whole(1, 1024)(text)
    except ValueError:
        raise ValueError("must be auto or a whole number from 1 to 1024") from None
