"""`doctor`: what is wrong with this installation, and what to do about it."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from llm_edge_agent.cli.options import options_of

if TYPE_CHECKING:
    from llm_edge_agent.cli.findings import Finding

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False
) -> None:
    """Check providers, keys, TLS, proxy, ports and aliases; exit code 1 where something is wrong."""
    if context.invoked_subcommand is not None:
        return
    import msgspec

    from llm_edge_agent.cli.checks import examine

    findings = asyncio.run(examine(options_of(context).load()))
    sound = all(finding.verdict != "problem" for finding in findings)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode({"ok": sound, "checks": findings})).decode())
    else:
        _print(findings)
    raise typer.Exit(0 if sound else 1)


def _print(findings: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in ("subject", "check", "verdict", "detail"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(
            Text(finding.subject),
            Text(finding.check),
            Text(finding.verdict, _STYLES[finding.verdict]),
            Text(finding.detail),
        )
    console = Console(highlight=False)
    console.print(table)
    for finding in findings:
        if finding.advice:
            line = f"{finding.subject}, {finding.check}: {finding.advice}"
            console.print(Text(line), soft_wrap=True)
