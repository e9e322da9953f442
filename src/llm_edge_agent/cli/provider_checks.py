"""Whether a provider can be reached and takes our key: one call through the gateway's own client."""

from collections.abc import Sequence

import msgspec

from llm_edge_agent.cli.findings import Finding, Verdict
from llm_edge_agent.config import AppConfig, ProviderConfig
from llm_edge_agent.http.origins import FailureReason, Origin, Timeouts, UpstreamFailure
from llm_edge_agent.http.pool import ProxySettings, UpstreamPool
from llm_edge_agent.presets import PRESETS
from llm_edge_agent.version import __version__

_STAGES = ("DNS", "connection", "TLS", "answer")
_FAILED_STAGE = {
    FailureReason.DNS: "DNS",
    FailureReason.CONNECT: "connection",
    FailureReason.CONNECT_TIMEOUT: "connection",
    FailureReason.PROXY: "connection",
    FailureReason.TLS: "TLS",
}


async def check_provider(
    provider: ProviderConfig, config: AppConfig, pool: UpstreamPool, proxy: ProxySettings | None, timeouts: Timeouts
) -> list[Finding]:
    """One cheap authenticated call. How far it came tells which stages are in order."""
    origin = Origin.from_url(provider.base_url)
    stages = [stage for stage in _STAGES if stage != "TLS" or origin.tls]
    through_proxy = proxy is not None and origin.tls and proxy.applies(origin.host, origin.port)
    if through_proxy:
        stages.remove("DNS")  # the proxy resolves it
    path = b"/v1/models" if provider.dialect == "anthropic" else b"/models"
    try:
        answer = await pool.send(origin, b"GET", path, _headers(provider, config), b"", timeouts)
        try:
            body = await answer.read()
            failure = None
        finally:
            answer.close()
    except UpstreamFailure as caught:
        failure = caught
    failed = _FAILED_STAGE.get(failure.reason, "answer") if failure is not None else None
    findings = []
    for stage in stages:
        if stage == failed:
            break
        if stage != "answer":
            detail = origin.host_header + (" through the proxy" if through_proxy else "")
            findings.append(Finding(subject=provider.name, check=stage, verdict="ok", detail=detail))
    if failure is not None:
        findings.append(
            Finding(
                subject=provider.name,
                check=failed or "answer",
                verdict="problem",
                detail=f"{origin.host_header}: {failure.detail}",
                advice=_failure_advice(failure.reason, provider, config),
            )
        )
    else:
        findings.append(_judged(provider, config, answer.status, body))
    return findings


def _headers(provider: ProviderConfig, config: AppConfig) -> bytes:
    lines = [f"user-agent: llm-edge-agent/{__version__}"]
    if provider.dialect == "anthropic":
        lines.append(f"anthropic-version: {config.anthropic_version}")
    if provider.api_key is not None:
        key = provider.api_key.reveal()
        lines.append(f"{provider.auth_header}: {'Bearer ' if provider.auth_header == 'authorization' else ''}{key}")
    lines += [f"{name}: {value}" for name, value in provider.headers.items()]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def _judged(provider: ProviderConfig, config: AppConfig, status: int, body: bytes) -> Finding:
    """The verdict on an answer that came."""

    def found(check: str, verdict: Verdict, detail: str, advice: str = "") -> Finding:
        return Finding(subject=provider.name, check=check, verdict=verdict, detail=detail, advice=advice)

    key, base = _key_setting(provider, config), _base_setting(provider, config)
    if status == 200:
        count = _models_in(body)
        if count is None:
            return found("base URL", "problem", "what answers is no model API", f"Correct {base}.")
        needed = "accepted" if provider.api_key is not None else "none needed"
        return found("key", "ok", f"{needed}, {count} models")
    if status == 401:
        return found("key", "problem", "refused (401)", f"Set {key} to a valid key of this provider.")
    if status == 403:
        advice = f"Give the key in {key} access to the API, or use another. Some providers refuse whole regions so."
        return found("key", "problem", "not permitted (403)", advice)
    if status == 429:
        advice = "Wait, or raise the limits of the account."
        return found("key", "warning", "its rate or quota is used up (429)", advice)
    if status == 404 and _is_preset_address(provider):
        return found("key", "warning", "not proven: no list of models (404)", "Send a completion to try it.")
    if status in (404, 405) or 300 <= status < 400:
        form = "without /v1" if provider.dialect == "anthropic" else "with its version path, usually /v1"
        advice = f"Correct {base}: as the SDK takes it, {form}."
        return found("base URL", "problem", f"not the address of an API ({status})", advice)
    if status >= 500:
        advice = "Try again later; see the provider's status page."
        return found("answer", "problem", f"the provider fails ({status})", advice)
    return found("answer", "problem", f"unexpected status {status}", f"Check {key} and {base}.")


def _models_in(body: bytes) -> int | None:
    """How many models a list holds; None where it is no list. Together answers with a bare array."""
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    listed = value.get("data") if isinstance(value, dict) else value
    # ollama without any model answers `"data": null`.
    if listed is None and isinstance(value, dict) and value.get("object") == "list":
        return 0
    return len(listed) if isinstance(listed, list) else None


def _is_preset_address(provider: ProviderConfig) -> bool:
    """Whether the provider is called where everybody calls it."""
    preset = PRESETS.get(provider.name)
    return preset is not None and preset.base_url is not None and preset.base_url == provider.base_url.rstrip("/")


def _failure_advice(reason: FailureReason, provider: ProviderConfig, config: AppConfig) -> str:
    base = _base_setting(provider, config)
    if reason is FailureReason.DNS:
        return f"Check the host name in {base}, and this machine's DNS; behind a proxy set HTTPS_PROXY."
    if reason is FailureReason.CONNECT:
        return f"Check that something listens there, {base}, and firewalls; behind a proxy set HTTPS_PROXY."
    if reason is FailureReason.CONNECT_TIMEOUT:
        return f"A firewall may drop the packets, or {base} is wrong; behind a proxy set HTTPS_PROXY."
    if reason is FailureReason.TLS:
        return (
            "Where a company's proxy or a private CA signs, set SSL_CERT_FILE to its certificates (PEM); else check"
            f" this machine's clock and {base}."
        )
    if reason is FailureReason.PROXY:
        return "Check HTTPS_PROXY (address, user, password), or name the host in NO_PROXY."
    if reason is FailureReason.PROTOCOL:
        return f"What listens there does not speak HTTP; check {base}."
    return f"Try again; if it stays, check {base} and the network."


def _key_setting(provider: ProviderConfig, config: AppConfig) -> str:
    preset = PRESETS.get(provider.name)
    names = [key.name for key in preset.keys if key.auth_header == provider.auth_header] if preset is not None else []
    return _settings(names, f"providers.{provider.name}.api_key", config)


def _base_setting(provider: ProviderConfig, config: AppConfig) -> str:
    preset = PRESETS.get(provider.name)
    names: list[str] = []
    if preset is not None:
        names = [preset.endpoint_variable] if preset.endpoint_variable is not None else []
        names.append(preset.base_url_variable)
    return _settings(names, f"providers.{provider.name}.base_url", config)


def _settings(variables: Sequence[str], key: str, config: AppConfig) -> str:
    """The names by which something may have been set."""
    places = list(variables)
    if config.config_file is not None or not places:
        places.append(f"{key} in {config.config_file or 'the configuration file'}")
    return " or ".join(places)
