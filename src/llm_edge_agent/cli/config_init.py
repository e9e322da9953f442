"""`config init`: a `.env` to fill in."""

import os
from pathlib import Path
from typing import Annotated

import typer

from llm_edge_agent.cli.messages import fail, note

TEMPLATE = """\
# Settings of llm-edge-agent, read from the working directory. The environment wins over this file.
# Remove the # of a line to set it; the values shown are the defaults.

# Providers: at least one key. Any *_KEY may be given as *_KEY_FILE, a path to read it from.
#OPENAI_API_KEY=
#ANTHROPIC_API_KEY=
# Others switch on from their ordinary variables: GEMINI_API_KEY, MISTRAL_API_KEY, GROQ_API_KEY, OPENROUTER_API_KEY, ...
#OPENAI_BASE_URL=https://api.openai.com/v1
#ANTHROPIC_BASE_URL=https://api.anthropic.com

# Where to listen. Beyond 127.0.0.1, set API_KEYS too.
#HOST=0.0.0.0
#PORT=8080
# Metrics and health only; 0: none.
#METRICS_PORT=9090
# Processes that share the port; auto: one per core.
#WORKERS=1

# Keys that clients must present: comma-separated, each `key`, `tenant=key` or `tenant=sha256:<hex digest>`.
#API_KEYS=
# Requests a minute of each key, per worker.
#RATE_LIMIT_ENABLED=false
#RATE_LIMIT_RPM=1000
# Opens the admin API: look into the cache, purge, warm.
#ADMIN_API_KEY=

# The cache in memory. Policy: all, deterministic (temperature 0 or a seed only), off.
#ENABLE_L1_CACHE=true
#CACHE_POLICY=all
#L1_CACHE_SIZE=10000
#L1_CACHE_MB=64
#L1_TTL_SECONDS=300
#L1_TTI_SECONDS=120
# A second tier that processes share: in Redis where REDIS_URL names one, else in a file of this machine.
#ENABLE_L2_CACHE=false
#REDIS_URL=
#L2_TTL_SECONDS=3600

# When a provider fails: repeats, and other models in turn (model=model,model;model=model). Groups need a file.
#MAX_RETRIES=2
#FALLBACKS=

# Where an answer's `metadata` goes: body, headers, off.
#RESPONSE_METADATA=body

# Time limits, in seconds.
#SERVER_TIMEOUT_SECONDS=600
#UPSTREAM_TIMEOUT_SECONDS=120
#STREAM_IDLE_TIMEOUT_SECONDS=60
#SHUTDOWN_TIMEOUT_SECONDS=30

# Log: debug, info, warning, error; json, text, or auto: text on a terminal.
#LOG_LEVEL=info
#LOG_FORMAT=auto
# A file in which every request to a model is written down, for `llm-edge-agent usage`.
#LEDGER_PATH=
# A collector for traces and metrics (needs the extra `otel`).
#OTEL_EXPORTER_OTLP_ENDPOINT=

# The way out, where it is not direct.
#HTTPS_PROXY=
#NO_PROXY=
#SSL_CERT_FILE=
"""


def init(
    path: Annotated[Path, typer.Option("--path", help="File to write.")] = Path(".env"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite it where it exists.")] = False,
) -> None:
    """Write a commented .env to fill in, readable by you alone."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL), 0o600)
    except FileExistsError:
        fail(f"{path} exists; --force overwrites it")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(TEMPLATE)
    note(f"Wrote {path}. Set a provider key in it, then: llm-edge-agent check-config")
