"""How a simulator behaves. Values only."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SimulatorSettings:
    """Times in seconds, rates in tokens a second. The defaults answer as fast as they can and never fail."""

    latency_s: float = 0.0
    """Time to the first token."""
    tokens_per_s: float = 0.0
    """Pace after the first token; 0 or infinity: no wait between tokens."""
    jitter: float = 0.0
    """Each wait is stretched or shortened by up to this part of itself (0..1)."""
    error_rate: float = 0.0
    """Part of the POST requests (0..1) that fail with a 429, 500, 503 or 529."""
    seed: int = 0
    """Seeds ids, jitter and the choice of failing requests; answers depend on the request alone."""
    api_keys: tuple[str, ...] = ()
    """Keys that are accepted; empty: any key that is not empty."""
    require_key: bool = True
    leak_key: bool = False
    """A refused key is repeated in clear in the error, as careless providers do (else masked)."""
    extra_models: tuple[str, ...] = ()
    """Names that the OpenAI side serves beside the known models, with permissive rules."""
    bind_thinking_to_prefix: bool = True
    """A thinking block is refused in another conversation than its own, as for accounts since 2026-08-31."""
    one_write_per_event: bool = False
    """Streams without pace: True writes event by event, False joins up to 64 KiB in one write."""
    canned: bool = False
    """For benchmarks: one prepared answer whatever is asked; nothing is checked, recorded or billed.
    Streams keep the pace of `tokens_per_s`."""
    kept_requests: int = 1000
    """How many requests `Simulator.requests` remembers."""
    kept_bills: int = 10_000
    """How many bills `Simulator.billed` remembers."""
    record: bool = False
    """For tests: requests and answers are kept byte for byte; `/simulator/billing`, `/simulator/exchanges` and
    `/simulator/behaviour` show them, and change the behaviour at run time, to whoever reaches the port."""
