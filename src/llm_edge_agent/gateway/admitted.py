"""What reading a request told, and what of it is remembered for the same bytes to come (docs/adr/0005)."""

from typing import NamedTuple

from llm_edge_agent.cache.epochs import Epochs
from llm_edge_agent.core.cache_key import cache_key
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

    __slots__ = (
        "call",
        "generation",
        "group",
        "keys",
        "known_model",
        "material",
        "shown_model",
        "target",
        "ttl_s",
        "warnings",
    )

    def __init__(self, call: Call, group: Group, material: bytes | None, ttl_s: float | None) -> None:
        self.call = call
        self.group = group
        target = self.target = group.deployments[0]
        self.ttl_s = ttl_s
        self.material = material
        """Bytes for the cache key; None where policy keeps the request away from the cache."""
        self.keys: dict[KeyParts, bytes] = {}
        """Cache keys that were worked out, in one generation of epochs."""
        self.generation = 0
        model = target.model
        self.shown_model = call.model[:128]
        self.known_model = model.id if model.known else None
        self.warnings = (f"{model.status}-model",) if model.status in ("retired", "deprecated") else ()

    def shorter_ttl_s(self, asked_s: float | None) -> float | None:
        """How long the answer may live, where the client asks for `asked_s`; None is no bound."""
        own_s = self.ttl_s
        return own_s if asked_s is None else asked_s if own_s is None else min(asked_s, own_s)

    def key(self, endpoint: Endpoint, tenant: str, namespace: str, passed: Passed, epochs: Epochs) -> bytes:
        """The cache key of this body, for a tenant and what came with it in the head."""
        if self.generation != epochs.generation:
            self.keys.clear()
            self.generation = epochs.generation
        key = self.keys.get((tenant, namespace, passed))
        if key is None:
            key = cache_key(
                tenant=tenant,
                epoch=epochs.of(tenant, self.group.identity),
                endpoint=endpoint.name,
                model=self.group.identity,
                namespace=namespace,
                passed=b"%d:%b%b" % (len(passed.query), passed.query, passed.headers),
                material=self.material or b"",
            )
            if len(self.keys) < MAX_REMEMBERED_KEYS:
                self.keys[tenant, namespace, passed] = key
        return key


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
