"""Signals as something to await."""

import asyncio
import signal


def stop_signal() -> asyncio.Future[int]:
    """Resolved with the number of the first SIGTERM or SIGINT from now on. Later ones are ignored."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[int] = loop.create_future()

    def on_signal(number: int) -> None:
        if not came.done():
            came.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return came
