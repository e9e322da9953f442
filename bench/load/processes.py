"""Starting what is measured, and reading what it cost: CPU time from /proc, requests and latency from wrk."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

TICK_S = 1 / os.sysconf("SC_CLK_TCK")

NGINX_CONF = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_body_buffer_size 1m;
  client_max_body_size 16m;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location /return {{ default_type application/json; return 200 '{answer}'; }}
    location /v1/ {{
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer sk-bench"; proxy_buffering {buffering};
    }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A child process that listens, ended with the block."""

    def __init__(self, argv: list[str], port: int, *, env: dict[str, str] | None = None) -> None:
        self.port = port
        self._child = subprocess.Popen(
            argv, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> "Process":
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self._child.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(f"{self._child.args!r} did not start listening")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._child.terminate()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()

    def cpu_s(self) -> float:
        """User and system time of the process and its children, in seconds."""
        return sum(_cpu_s(pid) for pid in [self._child.pid, *_children(self._child.pid)])


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def nginx(folder: Path, upstream_port: int, answer: str, *, buffering: bool) -> Process:
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    port = free_port()
    conf = folder / f"nginx-{port}.conf"
    conf.write_text(
        NGINX_CONF.format(
            folder=folder,
            upstream=upstream_port,
            port=port,
            answer=answer.replace("'", "\\'"),
            buffering="on" if buffering else "off",
        )
    )
    return Process([binary, "-p", str(folder), "-c", str(conf)], port)


def upstream(tokens_per_s: float) -> Process:
    """The provider. `tokens_per_s` 0: chunks follow each other as fast as the event loop turns."""
    port = free_port()
    return Process([sys.executable, "-m", "bench.load.upstream", str(port), str(tokens_per_s)], port)


def gateway(upstream_port: int, settings: dict[str, str] | None = None) -> Process:
    """The gateway as `serve` starts it: metrics, logs, cache, ids, cost, all on; only addresses are set, and what
    `settings` say."""
    port = free_port()
    env = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "METRICS_PORT": str(free_port()),
        "OPENAI_API_KEY": "sk-bench",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
        "ANTHROPIC_API_KEY": "sk-bench",
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{upstream_port}",
        **(settings or {}),
    }
    return Process([sys.executable, "-m", "llm_edge_agent", "serve"], port, env=env)


def floor(upstream_port: int) -> Process:
    """A forwarder that does nothing but forward."""
    port = free_port()
    return Process([sys.executable, "-m", "bench.load.floor", str(port), str(upstream_port)], port)


@dataclass(frozen=True)
class Load:
    """What wrk saw."""

    requests: int
    errors: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float


def wrk(port: int, script: Path, *, connections: int, seconds: float, environment: dict[str, str]) -> Load:
    """Drives load from one thread. Errors are answers other than 2xx and socket errors."""
    done = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds:g}s",
            "--latency",
            "-s",
            str(script),
            f"http://127.0.0.1:{port}",
        ],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    out = done.stdout
    requests = int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]  # wrk always prints it
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]  # likewise
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    errors = (int(bad[1]) if bad else 0) + (sum(int(n) for n in sockets.groups()) if sockets else 0)
    return Load(requests, errors, rate, _percentile(out, "50%"), _percentile(out, "99%"))


def _percentile(out: str, name: str) -> float:
    found = re.search(rf"{name}\s+([\d.]+)(us|ms|s)\b", out)
    if found is None:
        return float("nan")
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]
