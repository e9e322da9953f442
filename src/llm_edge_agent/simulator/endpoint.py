"""What the simulator hands to an endpoint, and what it gets back."""

import random
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from llm_edge_agent.simulator.catalog import Catalog
from llm_edge_agent.simulator.directives import NONE, Directives
from llm_edge_agent.simulator.pacing import Piece
from llm_edge_agent.simulator.prompt_cache import PrefixMemory
from llm_edge_agent.simulator.records import Billed
from llm_edge_agent.simulator.settings import SimulatorSettings
from llm_edge_agent.simulator.stored_responses import ResponseStore

_ALPHABET = string.ascii_letters + string.digits


@dataclass(slots=True)
class State:
    """What lives as long as the simulator."""

    settings: SimulatorSettings
    catalog: Catalog
    rng: random.Random
    cache: PrefixMemory = field(default_factory=PrefixMemory)
    responses: ResponseStore = field(default_factory=ResponseStore)

    def identifier(self, prefix: str, length: int) -> str:
        """A fresh id, reproducible by the seed and the order of requests."""
        return prefix + "".join(self.rng.choices(_ALPHABET, k=length))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to an endpoint. Header names are lower-case; times: unix seconds, monotonic seconds."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    unix_s: float
    now_s: float


@dataclass(slots=True, kw_only=True)
class Ready:
    """An answer, whole or in pieces, before the directives about its delivery are applied."""

    body: bytes = b""
    pieces: Callable[[], Iterator[Piece]] | None = None
    """Makes the stream; None: `body` is the answer."""
    error_event: Callable[[], bytes] | None = None
    """What the stream says in-band when it fails midway; None: what its provider says on all endpoints."""
    output_tokens: int = 0
    """Tokens of the whole answer; a stream counts the tokens of its pieces and `hidden_tokens`."""
    hidden_tokens: int = 0
    """Tokens billed that no piece shows (reasoning)."""
    bill: Callable[[int, bool], Billed] | None = None
    on_success: Callable[[], None] | None = None
    """Called before the reply starts; remembers the prompt's prefixes."""
    directives: Directives = NONE
