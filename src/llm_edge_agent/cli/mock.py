"""`mock`: the provider simulator on a port of its own."""

from typing import Annotated

import typer

from llm_edge_agent.cli.addresses import listen_failure, reachable_url
from llm_edge_agent.cli.messages import fail, note
from llm_edge_agent.cli.signals import stop_signal


def mock(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any free one.", min=0, max=65535)] = 8081,
    latency: Annotated[float, typer.Option(help="Seconds to the first token.", min=0)] = 0.3,
    tokens_per_second: Annotated[float, typer.Option(help="Pace after it; 0: as fast as possible.", min=0)] = 60,
    error_rate: Annotated[
        float, typer.Option(help="Part of the requests that fail (429, 500, 503, 529).", min=0, max=1)
    ] = 0,
    jitter: Annotated[float, typer.Option(help="Waits vary by up to this part of themselves.", min=0, max=1)] = 0,
    model: Annotated[list[str] | None, typer.Option(help="Serve this model too, on the OpenAI side.")] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="For tests: keep the last requests and answers byte for byte, and answer under /simulator/ "
            "(billing, exchanges, behaviour).",
        ),
    ] = False,
) -> None:
    """Serve a simulated OpenAI and Anthropic API until SIGTERM or Ctrl-C, and print its base URLs."""
    import uvloop

    from llm_edge_agent.simulator import SimulatorSettings

    settings = SimulatorSettings(
        latency_s=latency,
        tokens_per_s=tokens_per_second,
        error_rate=error_rate,
        jitter=jitter,
        extra_models=tuple(model or ()),
        record=record,
    )

    async def serve_until_signalled() -> None:
        from llm_edge_agent.simulator import start_simulator

        stopping = stop_signal()
        running = await start_simulator(settings, host, port)
        base = reachable_url(host, running.port)
        print(f"OPENAI_BASE_URL={base}/v1\nANTHROPIC_BASE_URL={base}", flush=True)
        note("Simulated providers, any key is good. Ctrl-C ends them.")
        await stopping
        await running.stop()

    try:
        uvloop.run(serve_until_signalled())
    except OSError as error:
        fail(listen_failure(error, host, port))
