"""The command line. stdout is data, stderr is messages; 0 is success, 1 failure, 2 a usage or configuration error."""

import os
import sys


def main() -> None:
    """Runs the command in `sys.argv` and leaves with its exit code; 130 where Ctrl-C cut it short."""
    from llm_edge_agent.cli.commands import application

    try:
        application(prog_name="llm-edge-agent")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        _flush()


def _flush() -> None:
    """A reader of stdout that has left (`| head`) is no failure worth a traceback when the interpreter ends."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
