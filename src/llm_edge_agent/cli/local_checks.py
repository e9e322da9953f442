"""Whether this machine and this configuration are in order: ports, access, ledger, aliases."""

import asyncio
import os
import socket
import sqlite3
from pathlib import Path

from llm_edge_agent.cli.addresses import is_loopback, listen_failure, reachable_url
from llm_edge_agent.cli.findings import Finding, Verdict
from llm_edge_agent.config import AppConfig
from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import table_from_document
from llm_edge_agent.core.routing import Account, Directory
from llm_edge_agent.data import model_document
from llm_edge_agent.http.deadlines import running_sweep
from llm_edge_agent.http.origins import Origin, Timeouts, UpstreamFailure
from llm_edge_agent.http.pool import UpstreamPool
from llm_edge_agent.telemetry.ledger_file import NoLedgerError, open_to_read


async def check_listeners(config: AppConfig) -> list[Finding]:
    ports = {"PORT": config.port}
    if config.metrics_enabled and config.metrics_port:
        ports["METRICS_PORT"] = config.metrics_port
    findings = []
    for name, port in ports.items():
        try:
            found = await asyncio.get_running_loop().getaddrinfo(config.host or None, port, type=socket.SOCK_STREAM)
            family, _, _, _, address = found[0]
            with socket.create_server((str(address[0]), port), family=family):
                verdict: Verdict = "ok"
                detail, advice = f"{port} is free", ""
        except OSError as error:
            if await _is_gateway(config.host, port):
                verdict, detail, advice = "ok", f"{port}: a gateway is running there already", ""
            else:
                verdict, detail = "problem", listen_failure(error, config.host, port)
                advice = f"Set {name} (or HOST) to what is free."
        findings.append(Finding(subject="listener", check=name, verdict=verdict, detail=detail, advice=advice))
    return findings


async def _is_gateway(host: str, port: int) -> bool:
    """Whether what listens there already is a gateway: then the port is not lost to a stranger."""
    pool = UpstreamPool(sweep=running_sweep(), max_response_bytes=64 * 1024)
    try:
        origin = Origin.from_url(reachable_url(host, port))
        answer = await pool.send(origin, b"GET", b"/health/live", b"", b"", Timeouts(1.0, 2.0, 2.0))
        try:
            return answer.status == 200 and b'"alive"' in await answer.read()
        finally:
            answer.close()
    except (UpstreamFailure, ValueError):
        return False
    finally:
        await pool.close()


def check_access(config: AppConfig) -> list[Finding]:
    if config.auth_enabled:
        return [Finding(subject="access", check="keys", verdict="ok", detail=f"{len(config.keys)} gateway keys")]
    if is_loopback(config.host):
        return [Finding(subject="access", check="keys", verdict="ok", detail="no keys, on a loopback address")]
    return [
        Finding(
            subject="access",
            check="keys",
            verdict="warning",
            detail=f"no keys, though {config.host or '*'} is not a loopback address",
            advice="Set API_KEYS, or HOST=127.0.0.1.",
        )
    ]


def check_ledger(config: AppConfig) -> list[Finding]:
    """Whether requests can be written down where they shall be. Makes nothing."""
    if config.ledger_path is None:
        return []
    path = Path(config.ledger_path)
    problem = None
    if path.exists():
        try:
            open_to_read(str(path)).close()
        except (NoLedgerError, sqlite3.Error, OSError) as error:
            problem = str(error)
    place = next(each for each in (path, *path.absolute().parents) if each.exists())
    if problem is None and (not os.access(place, os.W_OK) or (place != path and not place.is_dir())):
        problem = f"{place} cannot be written"
    return [
        Finding(
            subject="ledger",
            check="LEDGER_PATH",
            verdict="ok" if problem is None else "problem",
            detail=f"{path}: {problem}" if problem is not None else str(path),
            advice="Name another file, or let the gateway write there." if problem is not None else "",
        )
    ]


def check_aliases(config: AppConfig) -> list[Finding]:
    """Where each alias leads."""
    accounts = [Account(each.name, each.dialect, each.models) for each in config.providers]
    directory = Directory(table_from_document(model_document(config.model_overrides)), accounts, config.aliases)
    return [_alias(directory, alias, name) for alias, name in config.aliases.items()]


def _alias(directory: Directory, alias: str, name: str) -> Finding:
    def found(verdict: Verdict, detail: str, advice: str = "") -> Finding:
        return Finding(subject="alias", check=alias, verdict=verdict, detail=f"{name}{detail}", advice=advice)

    try:
        model = directory.resolve(alias).deployments[0].model
    except GatewayError:
        advice = "Name a model of a configured provider, or configure its provider."
        return found("problem", ": no configured provider serves it", advice)
    if model.status == "retired":
        date = f" on {model.shutdown_date}" if model.shutdown_date is not None else ""
        return found("problem", f" was retired{date}", "Name a model of today: llm-edge-agent models")
    if not model.known:
        advice = "Check the spelling, or add the model under `models` in the configuration file."
        return found("warning", " is not in the model table: its cost is unknown", advice)
    if model.shutdown_date is not None:
        return found("warning", f" will be shut down on {model.shutdown_date}", "See llm-edge-agent models.")
    return found("ok", "")
