"""Whether the second cache tier can be used: Redis answers, or its folder can be written."""

import shutil
import tempfile
from pathlib import Path

from llm_edge_agent.cache import redis_discovery
from llm_edge_agent.cache.redis_connection import Place, is_answered
from llm_edge_agent.cache.tiers import StoreError
from llm_edge_agent.cli.findings import Finding, Verdict
from llm_edge_agent.config import CacheConfig, RedisAddress

_ADVICE = {
    "connect": "Start Redis, or correct its address.",
    "timeout": "See whether Redis is overloaded or a firewall is in between; else raise L2_TIMEOUT_MS.",
    "auth": "Correct the user and the password in its URL (percent-encoded), and what that user may do.",
    "loading": "Wait until Redis has read its data.",
    "protocol": "Something else than Redis listens there, or it wants TLS (rediss://).",
    "closed": "Something else than Redis listens there, or it wants TLS (rediss://).",
}


async def check_shared_cache(cache: CacheConfig) -> list[Finding]:
    """One finding; none where the tier is off."""
    if not cache.l2_enabled:
        return []
    if cache.redis is not None:
        return [await _redis(cache.redis, cache)]
    return [_folder(Path(cache.directory or "."), cache)]


def _finding(verdict: Verdict, detail: str, advice: str = "") -> Finding:
    return Finding(subject="cache", check="L2", verdict=verdict, detail=detail, advice=advice)


async def _redis(address: RedisAddress, cache: CacheConfig) -> Finding:
    timeout_s = cache.l2_connect_timeout_s
    try:
        if address.kind == "cluster":
            owners = await redis_discovery.slot_owners(address, [], timeout_s=timeout_s)
            if None in owners:
                return _finding("problem", f"{address}: {owners.count(None)} slots have no server", _ADVICE["connect"])
            places: list[Place] = [place for place in dict.fromkeys(owners) if place is not None]
        elif address.kind == "sentinel":
            places = [await redis_discovery.master(address, timeout_s=timeout_s)]
        else:
            places = [address.path if address.path is not None else address.nodes[0]]
        for place in places:
            await is_answered(place, address, timeout_s=timeout_s)
    except StoreError as error:
        advice = _ADVICE.get(error.kind, "See the log of Redis.")
        return _finding("problem", f"{address}: {error.kind}; the gateway would go on without it", advice)
    return _finding("ok", f"{address} answers")


def _folder(folder: Path, cache: CacheConfig) -> Finding:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        return _finding("problem", f"{folder}: {error.strerror}", "Set CACHE_DIR to a folder that can be written.")
    if free_bytes < cache.l2_bytes:
        detail = f"{folder}: {free_bytes // 2**20} MiB are free, and it may grow to {cache.l2_bytes // 2**20}"
        return _finding("warning", detail, "Lower L2_CACHE_MB, or set CACHE_DIR to a roomier disk.")
    return _finding("ok", f"{folder} can be written")
