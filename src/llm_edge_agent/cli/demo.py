"""`demo`: the main job in one process and without any account."""

from typing import TYPE_CHECKING, Annotated

import typer

from llm_edge_agent.cli.addresses import url
from llm_edge_agent.cli.messages import fail

if TYPE_CHECKING:
    from rich.console import Console

    from llm_edge_agent.cli.chat import ChatClient, Completion
    from llm_edge_agent.serving import GatewayServer

GPT, CLAUDE = "gpt-5.5", "claude-sonnet-5"
QUESTION = "What does an LLM gateway do?"
STREAMED_QUESTION = "Write a haiku about caching."
CLAUDE_QUESTION = "Why is the sky blue?"

SNIPPETS = """\
The gateway answers on {url} until Ctrl-C. Try it:

curl -s {url}/v1/chat/completions -H 'Content-Type: application/json' \\
  -d '{{"model": "gpt-5.5", "messages": [{{"role": "user", "content": "Hello!"}}]}}'

curl -sN {url}/v1/chat/completions -H 'Content-Type: application/json' \\
  -d '{{"model": "claude-sonnet-5", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'

from openai import OpenAI

client = OpenAI(base_url="{url}/v1", api_key="any")
answer = client.chat.completions.create(
    model="claude-sonnet-5", messages=[{{"role": "user", "content": "Hello!"}}]
)
print(answer.choices[0].message.content)
"""


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running afterwards, to try it by hand.")] = False,
) -> None:
    """Show the gateway at work in front of simulated providers: no account, no key, no money."""
    import uvloop

    from llm_edge_agent.cli.chat import ChatError

    try:
        broken = uvloop.run(_demonstrate(keep))
    except (ChatError, OSError) as error:
        fail(f"the demo broke off: {error}")
    if broken:
        fail(*broken)


async def _demonstrate(keep: bool) -> list[str]:
    """Runs the demo. Returns what was not as promised."""
    from rich.console import Console

    from llm_edge_agent.cli.chat import ChatClient
    from llm_edge_agent.cli.inprocess import running_gateway, simulated_config, simulated_providers
    from llm_edge_agent.cli.signals import stop_signal

    console = Console(highlight=False, soft_wrap=True)
    async with simulated_providers() as simulator, running_gateway(simulated_config(simulator)) as gateway:
        address = url(gateway.state.config.host, gateway.port)
        console.print(f"Gateway on {address}, in front of simulated providers.")
        client = ChatClient(address)
        try:
            broken = await _converse(console, client)
        finally:
            await client.close()
        broken += _summarise(console, gateway)
        if keep and not broken:
            console.print(SNIPPETS.format(url=address), markup=False)
            await stop_signal()
    return broken


async def _converse(console: "Console", client: "ChatClient") -> list[str]:
    first = await _ask(console, client, "A question", GPT, QUESTION)
    again = await _ask(console, client, "The same question again", GPT, QUESTION)
    streamed = await _ask(console, client, "A streamed answer", GPT, STREAMED_QUESTION, stream=True)
    claude = await _ask(
        console, client, "A Claude model, streamed, through the same API", CLAUDE, CLAUDE_QUESTION, stream=True
    )
    promises = [
        (first.metadata.get("cached") is False, "the first answer did not come from the provider"),
        (again.metadata.get("cache_tier") == "l1", "the repeated question was not answered from the L1 cache"),
        (again.text == first.text, "the cached answer differs from the first one"),
        (again.metadata.get("cost_usd") == 0, "the cached answer was not free"),
        (_came_piecemeal(streamed), "the streamed answer did not come piece by piece"),
        (_came_piecemeal(claude), "the Claude answer did not come piece by piece"),
        (claude.metadata.get("provider") == "anthropic", "the Claude model was not asked at Anthropic"),
    ]
    return [complaint for kept, complaint in promises if not kept]


def _came_piecemeal(completion: "Completion") -> bool:
    return completion.pieces > 1 and completion.first_s < completion.seconds


async def _ask(
    console: "Console", client: "ChatClient", title: str, model: str, question: str, *, stream: bool = False
) -> "Completion":
    console.print(f"\n[bold]{title}[/bold] ({model})")
    console.print(f"[cyan]>[/cyan] {question}")

    def show(text: str) -> None:
        console.print(text, end="", markup=False)
        console.file.flush()

    completion = await client.ask(model, question, show if stream else None)
    if stream:
        console.print()
    else:
        console.print(completion.text, markup=False, soft_wrap=not console.is_terminal)
    console.print(f"[dim]{_caption(completion)}[/dim]")
    return completion


def _caption(completion: "Completion") -> str:
    metadata = completion.metadata
    cached = f"cached in {metadata['cache_tier']}" if metadata.get("cached") else "not cached"
    parts = [str(metadata.get("provider")), cached]
    if completion.pieces > 1:
        parts.append(f"first token after {completion.first_s * 1000:,.0f} ms")
    parts.append(f"{metadata.get('latency_ms', 0.0):,.1f} ms")
    cost = metadata.get("cost_usd")
    parts.append("cost unknown" if cost is None else f"${cost:.6f}")
    return " | ".join(parts)


def _summarise(console: "Console", gateway: "GatewayServer") -> list[str]:
    from rich.table import Table

    from llm_edge_agent.cli.summary import rows

    totals = gateway.state.totals()
    table = Table(title="What the gateway counted (simulated money)", title_justify="left", show_header=False)
    for label, value in rows(totals):
        table.add_row(label, value)
    console.print()
    console.print(table)
    promises = [
        (totals.requests == 4 and totals.errors == 0, "not all four requests were counted as answered"),
        (totals.cache_hits == 1, "the cache hit was not counted"),
        (totals.cost_picodollars > 0, "no cost was counted"),
        (totals.saved_picodollars > 0, "no saving was counted"),
    ]
    return [complaint for kept, complaint in promises if not kept]
