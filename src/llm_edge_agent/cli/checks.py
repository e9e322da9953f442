"""Everything that `doctor` looks at."""

import asyncio

from llm_edge_agent.cli.findings import Finding
from llm_edge_agent.cli.local_checks import check_access, check_aliases, check_ledger, check_listeners
from llm_edge_agent.cli.provider_checks import check_provider
from llm_edge_agent.cli.shared_cache_checks import check_shared_cache
from llm_edge_agent.config import AppConfig
from llm_edge_agent.http.deadlines import running_sweep
from llm_edge_agent.http.origins import Timeouts
from llm_edge_agent.http.pool import ProxySettings, UpstreamPool, tls_context

MAX_ANSWER_BYTES = 16 * 1024 * 1024
CALL_TIMEOUT_S = 15.0


async def examine(config: AppConfig) -> list[Finding]:
    """Runs every check; the providers are called at the same time. Never raises for what it finds."""
    timeouts = Timeouts(connect_s=config.connect_timeout_s, answer_s=CALL_TIMEOUT_S, idle_s=CALL_TIMEOUT_S)
    proxy = ProxySettings.from_config(
        config.https_proxy.reveal() if config.https_proxy is not None else None, config.no_proxy
    )
    pool = UpstreamPool(
        sweep=running_sweep(),
        tls=tls_context(config.ssl_cert_file),
        proxy=proxy,
        max_response_bytes=MAX_ANSWER_BYTES,
    )
    try:
        calls = (check_provider(provider, config, pool, proxy, timeouts) for provider in config.providers)
        findings = [finding for found in await asyncio.gather(*calls) for finding in found]
    finally:
        await pool.close()
    findings += await check_listeners(config)
    findings += await check_shared_cache(config.cache)
    findings += check_access(config)
    findings += check_ledger(config)
    findings += check_aliases(config)
    findings += [
        Finding(subject="configuration", check="settings", verdict="warning", detail=warning)
        for warning in config.warnings
    ]
    return findings
