"""What goes wrong, as the real SDK raises it: each failure by its own class, and leaving early stops generation."""

import asyncio

import openai
import pytest

from llm_edge_agent.simulator import RunningSimulator
from tests.canaries import CLIENT_KEY, prompt
from tests.e2e.running_gateway import CLAUDE, MODEL, RunningGateway, eventually

CLASSES: list[tuple[str, type[openai.APIStatusError], int, str | None]] = [
    ("[[sim: status=400]]", openai.BadRequestError, 400, None),
    ("[[sim: status=401]]", openai.InternalServerError, 502, "upstream_authentication_failed"),
    ("[[sim: status=403]]", openai.InternalServerError, 502, "upstream_authentication_failed"),
    ("[[sim: status=404]]", openai.NotFoundError, 404, None),
    ("[[sim: status=422]]", openai.UnprocessableEntityError, 422, None),
    ("[[sim: status=429, retry_after=7]]", openai.RateLimitError, 429, None),
    ("[[sim: status=500]]", openai.InternalServerError, 502, "upstream_error"),
    ("[[sim: status=503]]", openai.InternalServerError, 503, "overloaded"),
    ("[[sim: body=html]]", openai.InternalServerError, 502, "upstream_invalid"),
    ("[[sim: body=error_object]]", openai.InternalServerError, 502, "upstream_invalid"),
    ("[[sim: mode=rst]]", openai.InternalServerError, 502, None),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("text", "kind", "status", "code"), CLASSES, ids=[row[0] for row in CLASSES])
async def test_each_failure_has_its_class(
    text: str,
    kind: type[openai.APIStatusError],
    status: int,
    code: str | None,
    stream: bool,
    client: openai.AsyncOpenAI,
) -> None:
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": f"{text} please"}], stream=stream
        )
    assert caught.value.status_code == status
    assert caught.value.request_id
    if code is not None:
        assert caught.value.code == code
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("model", [MODEL, CLAUDE])
@pytest.mark.parametrize("mode", ["rst", "fin", "error", "eof_tidy"])
async def test_a_stream_that_breaks_raises(mode: str, model: str, client: openai.AsyncOpenAI) -> None:
    seen: list[str] = []

    async def read() -> None:
        text = f"[[sim: mode={mode}, fail_after=5, tokens=50]] go on"
        async for chunk in await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], stream=True
        ):
            seen.extend(choice.delta.content for choice in chunk.choices if choice.delta.content)
            assert not any(choice.finish_reason for choice in chunk.choices)

    with pytest.raises(openai.APIError):
        await read()
    assert 1 <= len(seen) <= 6


@pytest.mark.parametrize("model", [MODEL, CLAUDE])
async def test_closing_a_stream_early_stops_generation(
    model: str, client: openai.AsyncOpenAI, simulator: RunningSimulator, gateway: RunningGateway
) -> None:
    text = "[[sim: tokens=500, chunk_delay=0.02]] go on"
    stream = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], stream=True
    )
    async for _ in stream:
        break
    await stream.close()
    await eventually(lambda: simulator.simulator.requests[-1].aborted, 5.0)
    await eventually(lambda: gateway.state.pool.in_use == 0)


async def test_a_timeout_of_the_client_stops_generation(
    client: openai.AsyncOpenAI, simulator: RunningSimulator, gateway: RunningGateway
) -> None:
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.3).chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": prompt("[[sim: latency=30]] slow")}]
        )
    await eventually(lambda: simulator.simulator.requests[-1].aborted, 5.0)


async def test_a_cancelled_task_stops_generation(client: openai.AsyncOpenAI, simulator: RunningSimulator) -> None:
    asking = asyncio.ensure_future(
        client.chat.completions.create(
            model=CLAUDE, messages=[{"role": "user", "content": prompt("[[sim: latency=30]] slow")}]
        )
    )
    await eventually(lambda: len(simulator.simulator.requests) == 1)
    asking.cancel()
    await eventually(lambda: simulator.simulator.requests[-1].aborted, 5.0)


async def test_the_sdks_own_retry_is_answered_once_the_provider_is_well(
    gateway: RunningGateway, simulator: RunningSimulator
) -> None:
    """The gateway repeats nothing by itself here: each call of the SDK is one call of the provider."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=CLIENT_KEY, max_retries=1) as client:
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": prompt("[[sim: status=500]] no")}]
            )
    assert len(simulator.simulator.requests) == 2
