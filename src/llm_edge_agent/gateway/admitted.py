"""What reading a request told, and what of it is remembered for the same bytes to come (docs/adr/0005)."""

from typing import NamedTuple

from llm_edge_agent.core.cache_policy import CacheControl
from llm_edge_agent.core.plan import Group
from llm_edge_agent.dialects.endpoint import Call, Endpoint, Passed

MAX_REMEMBERED_BODIES = 1024
MAX_REMEMBERED_BYTES = 8 * 1024
MAX_REMEMBERED_KEYS = 8
"""Bounds of the memo of bodies that were answered from the cache: an identical body needs no second reading, which
is two thirds of a hit's cost."""

KeyParts = tuple[str, str, Passed]
"""Tenant, namespace, what is passed of the head."""


class Admitted:
    """What reading a body told: everything but what its headers and its caller add."""

    __slots__ = ("call", "group", "keys", "known_model", "material", "shown_model", "target", "ttl_s", "warnings")

    def __init__(self, call: Call, group: Group, material: bytes | None, ttl_s: float | None) -> None:
        self.call = call
        self.group = group
        target = self.target = group.deployments[0]
        self.ttl_s = ttl_s
        self.material = material
        """Bytes for the cache key; None where policy keeps the request away from the cache."""
        self.keys: dict[KeyParts, bytes] = {}
        """Cache keys that were worked out."""
        model = target.model
        self.shown_model = call.model[:128]
        self.known_model = model.id if model.known else None
        self.warnings = (f"{model.status}-model",) if model.status in ("retired", "deprecated") else ()

    def keep_key(self, parts: KeyParts, key: bytes) -> None:
        if len(self.keys) < MAX_REMEMBERED_KEYS:
            self.keys[parts] = key


class Considered(NamedTuple):
    """A request that is only looked at."""

    endpoint: Endpoint
    admitted: Admitted
    control: CacheControl
    key: bytes | None
    """In the cache; None where policy keeps it away from there."""
    stored: bool
    """Whether memory holds an answer that would be told."""


class Door:
    """One endpoint, with what is remembered of bodies that came in by it."""

    __slots__ = ("_admitted", "endpoint")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._admitted: dict[bytes, Admitted] = {}

    def find(self, raw: bytes) -> Admitted | None:
        """What is known of this body. A large one is not looked for: hashing it costs, too."""
        return self._admitted.get(raw) if len(raw) <= MAX_REMEMBERED_BYTES else None

    def remember(self, raw: bytes, admitted: Admitted) -> None:
        """A body that was answered from the cache is likely to come again, byte for byte."""
        if len(raw) <= MAX_REMEMBERED_BYTES:
            if len(self._admitted) >= MAX_REMEMBERED_BODIES:
                self._admitted.clear()
            self._admitted[raw] = admitted

    def forget(self) -> None:
        """Another configuration reads the same bytes otherwise."""
        self._admitted.clear()
