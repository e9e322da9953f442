"""The canaries, and the search for them in whatever a gateway lets out.

Every key that a test gives to a gateway, and the texts that it sends through one, hold a mark. Nothing that a gateway
lets out may hold one: no log, ledger, span, page of metrics or of health, no error that a client got. Whoever starts a
gateway brings what it let out to `look` and the functions below it, and `tests/canary_search.py` fails the test that
let a canary out. Caches keep answers, and are left out: what L1, LMDB and Redis hold is meant to be there.

Needs nothing but the standard library, so that the suites for other majors of the SDKs search, too.
"""

import contextlib
import http.client
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

OPENAI_KEY = "sk-canary-key-of-openai-4f1c9b7e2d"
ANTHROPIC_KEY = "sk-ant-canary-key-of-anthropic-8a53d0e6b1"
ALICE_KEY = "canary-key-of-alice-51c3"
BOB_KEY = "canary-key-of-bob-9e07"
ADMIN_KEY = "sk-canary-key-of-the-admin-70b1c4f9"
CLIENT_KEY = "canary-key-of-a-client-d1c2"
CANARY_KEYS = (OPENAI_KEY, ANTHROPIC_KEY, ALICE_KEY, BOB_KEY, ADMIN_KEY, CLIENT_KEY)
PROMPT_CANARY = "canary-text-of-the-prompt-77ab"
ANSWER_CANARY = "canary-text-of-the-answer-e41f"
CANARY_TEXTS = (PROMPT_CANARY, ANSWER_CANARY)


def key_of(what: str) -> str:
    """A key that no other test has."""
    return f"canary-key-of-{what}"


def prompt(text: str = "") -> str:
    """A text for a request that is a canary, and different from others."""
    return f"{PROMPT_CANARY} {text}".rstrip()


LOG, LEDGER, SPANS, METRICS, HEALTH, ERROR = "log", "ledger", "span", "page of metrics", "page of health", "error"
LINES, ROWS = "log line", "ledger row"
"""What logs and ledgers are counted in, too."""
OUTPUT = "output"
"""What a command prints that is no gateway: `cache get`, `usage`."""
ANSWER = "answer"
"""What a client was sent, whatever it is: texts belong there, keys do not."""

_KEY = re.compile(rb"canary-key-[\w-]*")
_KEY_OR_TEXT = re.compile(rb"canary-(?:key|text)-[\w-]*")
_SQLITE = b"SQLite format 3\0"
_PATIENCE_S = 3.0
_ENOUGH = 20
"""Of what is found in one place."""


@dataclass(frozen=True)
class Leak:
    kind: str
    place: str
    canary: str

    @property
    def is_key(self) -> bool:
        return self.canary.startswith("canary-key-")

    def __str__(self) -> str:
        return f"{self.kind} {self.place}: {self.canary}"


@dataclass
class Search:
    """What was looked at so far, and what was found in it."""

    seen: Counter[str] = field(default_factory=Counter)
    leaks: list[Leak] = field(default_factory=list)

    def look(self, kind: str, place: str, data: bytes | bytearray, count: int = 1) -> None:
        """Searches what was let out; `count` says how many of the kind it is. What is empty counts for nothing."""
        if not data:
            return
        self.seen[kind] += count
        if kind == LOG:
            self.seen[LINES] += data.count(b"\n")
        if b"canary-" not in data:  # a hundred times as fast as the expression, and the bodies of some tests are large
            return
        pattern = _KEY if kind == ANSWER else _KEY_OR_TEXT
        for found in islice(pattern.finditer(data), _ENOUGH):
            line = data.count(b"\n", 0, found.start()) + 1
            leak = Leak(kind, f"{place}, line {line}{_line(data, found.start())}", found.group().decode())
            if leak not in self.leaks:
                self.leaks.append(leak)

    def take(self) -> list[Leak]:
        """What was found since the last time."""
        found, self.leaks = self.leaks, []
        return found


SEARCH = Search()
look = SEARCH.look


def _line(data: bytes | bytearray, at: int) -> str:
    """What a log line that holds this place says of itself: who wrote it, about what."""
    begin, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
    with contextlib.suppress(ValueError):
        line = json.loads(data[begin : end if end >= 0 else len(data)])
        if isinstance(line, dict) and "event" in line:
            return f" ({line.get('logger')}: {line['event']})"
    return ""


def look_at_log(path: Path) -> None:
    look(LOG, path.name, path.read_bytes() if path.exists() else b"")


def look_at_ledger(path: Path) -> None:
    """Its rows, and every byte of the file: what was deleted is still there."""
    if not path.exists():
        return
    rows: list[Any] = []
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as book:
        rows = book.execute("SELECT * FROM requests").fetchall()
    SEARCH.seen[ROWS] += len(rows)
    look(LEDGER, path.name, "\n".join(map(repr, rows)).encode())
    look(LEDGER, f"{path.name} as a file", b"".join(_bytes_of(path, ending) for ending in ("", "-wal")), 0)


def _bytes_of(path: Path, ending: str) -> bytes:
    file = path.with_name(path.name + ending)
    return file.read_bytes() if file.exists() else b""


def look_at_folder(folder: Path) -> None:
    """The ledgers among the files that a program left there; nothing else in SQLite's format is the gateway's."""
    for path in folder.rglob("*"):
        if path.is_file() and _begins(path, _SQLITE):
            look_at_ledger(path)


def _begins(path: Path, mark: bytes) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:  # a program that still ends may take its files away
        return file.read(len(mark)) == mark
    return False


def look_at_pages(port: int, key: str = "") -> None:
    """Metrics and health of a gateway on this port, if it still answers whoever has the key."""
    for kind, path in ((METRICS, "/metrics"), (HEALTH, "/health")):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
            answer = connection.getresponse()
            look(kind if answer.status == 200 else ERROR, f"{path} of port {port}", answer.read())


def look_at_answer(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """What a client was sent: an error whole, of a stream the errors in it, and for keys everything."""
    place = f"of a reply with {status}"
    lines = repr(sorted(headers.items())).encode()
    if status >= 400:
        look(ERROR, place, body + lines)
    elif headers.get("content-type", "").startswith("text/event-stream"):
        for event in body.split(b"\n\n"):
            if b'"error":{' in event or b'"error": {' in event:
                look(ERROR, f"in a stream {place}", event)
    elif body.startswith(b"# HELP"):
        look(METRICS, place, body)
    look(ANSWER, place, body + lines)


def overhear(sdk: Any) -> None:
    """Looks, from now on, at every error that an SDK makes of what it was sent, in streams, too. Once is enough."""
    made = sdk.APIError.__init__
    if made.__name__ == "overheard":
        return

    def overheard(error: Any, message: str, request: Any, *, body: object | None) -> None:
        look(ERROR, f"in the SDK's {type(error).__name__}", repr((message, body)).encode())
        made(error, message, request, body=body)

    sdk.APIError.__init__ = overheard
