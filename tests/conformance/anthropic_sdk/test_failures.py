"""Every error class, streams that break, timeouts, and clients that leave."""

import asyncio
import threading
import time
from typing import Any

import anthropic
import pytest

from tests.canaries import CLIENT_KEY
from tests.conformance.anthropic_sdk.requests_and_texts import once
from tests.conformance.processes import STRAIGHT, UPSTREAM_TIMEOUT_S, Running, through_the_gateway

OURS = [] if STRAIGHT else [401, 403]
"""What a provider says of the gateway's own key is no business of the client's: it gets a 502."""


def ask(client: anthropic.Anthropic, text: str, **members: Any) -> Any:
    return client.messages.create(model="claude-haiku-4-5", max_tokens=200, messages=once(text), **members)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "BadRequestError", "invalid_request_error"),
        (401, "AuthenticationError", "authentication_error"),
        (402, "PaymentRequiredError", "billing_error"),
        (403, "PermissionDeniedError", "permission_error"),
        (404, "NotFoundError", "not_found_error"),
        (409, "ConflictError", "conflict_error"),
        (413, "ContentTooLargeError", "request_too_large"),
        (422, "UnprocessableEntityError", "invalid_request_error"),
        (429, "RateLimitError", "rate_limit_error"),
        (500, "InternalServerError", "api_error"),
        (503, "InternalServerError", "api_error"),
        (504, "InternalServerError", "timeout_error"),
        (529, "OverloadedError", "overloaded_error"),
    ],
)
def test_error_classes(client: anthropic.Anthropic, status: int, name: str, kind: str, stream: bool) -> None:
    older = {"PaymentRequiredError": "APIStatusError", "ContentTooLargeError": "RequestTooLargeError"}
    fallback = getattr(anthropic, older.get(name, ""), anthropic.APIStatusError)
    expected: type[anthropic.APIStatusError] = getattr(anthropic, name, fallback)
    if status in OURS:
        status, expected, kind = 502, anthropic.InternalServerError, "api_error"
    with pytest.raises(expected) as caught:
        ask(
            client,
            f"[[sim: status={status}, retry_after=2]]" if status != 502 else "[[sim: status=401]]",
            stream=stream,
        )
    assert caught.value.status_code == status
    assert caught.value.request_id
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["error"]["message"]
    assert "sk-" not in str(body)
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "2"


@pytest.mark.parametrize(("status", "expected"), [(400, anthropic.BadRequestError), (429, anthropic.RateLimitError)])
def test_counting_may_fail_too(
    client: anthropic.Anthropic, status: int, expected: type[anthropic.APIStatusError]
) -> None:
    with pytest.raises(expected) as caught:
        client.messages.count_tokens(model="claude-haiku-4-5", messages=once(f"[[sim: status={status}]]"))
    assert caught.value.request_id


def test_errors_keep_their_details(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.RateLimitError) as caught:
        ask(client, "[[sim: error=ramp_limit_exceeded]]")
    body: Any = caught.value.body
    assert body["error"]["details"] == {"error_code": "ramp_limit_exceeded"}


def test_unknown_models(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="claude-nothing-9", max_tokens=5, messages=once("Hi"))
    body: Any = caught.value.body
    assert body["error"]["type"] == "not_found_error"


@through_the_gateway
def test_a_wrong_key(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.AuthenticationError) as caught:
        ask(client.with_options(api_key="wrong-key"), "Hi")
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "authentication_error")


def test_an_error_within_the_stream(client: anthropic.Anthropic) -> None:
    stream = ask(client, "[[sim: tokens=50, fail_after=4, mode=error]]", stream=True)
    seen: list[Any] = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        seen.extend(stream)
    body: Any = caught.value.body
    assert body["error"]["type"] == "overloaded_error"
    assert [event.type for event in seen].count("content_block_delta") == 4


@through_the_gateway
@pytest.mark.parametrize("mode", ["rst", "fin", "eof_tidy", "stall"])
def test_a_broken_stream_raises(client: anthropic.Anthropic, mode: str) -> None:
    stream = ask(client, f"[[sim: tokens=50, fail_after=4, mode={mode}]]", stream=True)
    seen: list[Any] = []
    with pytest.raises(anthropic.APIError):
        seen.extend(stream)
    assert "content_block_delta" in {event.type for event in seen}
    assert "message_stop" not in {event.type for event in seen}


def test_a_client_that_does_not_wait(client: anthropic.Anthropic, running: Running) -> None:
    with pytest.raises(anthropic.APITimeoutError):
        ask(client.with_options(timeout=0.5), "[[sim: latency=30]]")
    running.wait_until(0)


@through_the_gateway
def test_a_provider_that_does_not_answer(client: anthropic.Anthropic, running: Running) -> None:
    began_s = time.monotonic()
    with pytest.raises(anthropic.InternalServerError) as caught:
        ask(client, "[[sim: latency=30]]")
    assert UPSTREAM_TIMEOUT_S - 0.5 < time.monotonic() - began_s < UPSTREAM_TIMEOUT_S + 3
    assert caught.value.status_code == 504
    body: Any = caught.value.body
    assert body["error"]["type"] == "timeout_error"
    running.wait_until(0)


def test_cancelling_a_stream_cancels_the_provider(client: anthropic.Anthropic, running: Running) -> None:
    stream = ask(client, "[[sim: tokens=200, chunk_delay=0.1]]", stream=True)
    assert next(iter(stream)).type == "message_start"
    assert running.open_exchanges() == 1
    stream.close()
    assert running.wait_until(0) < 1.5
    assert running.simulator("billing")["billed"][-1]["aborted"] is True


def test_cancelling_a_whole_request_cancels_the_provider(client: anthropic.Anthropic, running: Running) -> None:
    def ask_and_give_up() -> None:
        with pytest.raises(anthropic.APITimeoutError):
            ask(client.with_options(timeout=0.7), "[[sim: latency=20]]")

    thread = threading.Thread(target=ask_and_give_up)
    thread.start()
    running.wait_until(1)
    thread.join()
    assert running.wait_until(0) < 1.5


@pytest.mark.parametrize("stream", [False, True])
def test_cancelling_a_task_cancels_the_provider(running: Running, stream: bool) -> None:
    async def ask_and_cancel() -> None:
        async with anthropic.AsyncAnthropic(base_url=running.url, api_key=CLIENT_KEY, max_retries=0) as client:

            async def read() -> None:
                made: Any = await client.messages.create(
                    model="claude-haiku-4-5",
                    max_tokens=500,
                    messages=once("[[sim: tokens=200, chunk_delay=0.1]]"),
                    stream=stream,
                )
                async for _ in made:
                    pass

            task = asyncio.ensure_future(read())
            await asyncio.to_thread(running.wait_until, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.to_thread(running.wait_until, 0, 1.5)

    asyncio.run(ask_and_cancel())
