"""A whole Responses answer as a chat completion (mapping section 9)."""

import msgspec

from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_to_responses.sent import Sent
from llm_edge_agent.dialects.chat_to_responses.wire import (
    Item,
    Response,
    annotation,
    call_of,
    chat_id,
    chat_usage,
    finish_reason,
    summary_of,
    thinking_block,
)
from llm_edge_agent.dialects.fields import Json
from llm_edge_agent.dialects.provider_json import decode, decoder, restore
from llm_edge_agent.dialects.stop_sequences import StopCutter

_decoder = decoder(Response)


def translate_response(body: bytes, sent: Sent, *, created: int) -> tuple[bytes, TokenUsage | None]:
    """The `chat.completion` object, without the gateway's own members, and what the answer used.

    `created` is in Unix seconds. Raises GatewayError: UPSTREAM_INVALID for anything that is no finished response, and
    what a failed one stands for.
    """
    response, shielded = decode(_decoder, body)
    cutter = StopCutter(sent.stop)
    message = _message(response.output, sent, cutter)
    finish = finish_reason(response, calls="tool_calls" in message)
    usage = response.tokens()
    answer: Json = {
        "id": chat_id(response.id),
        "object": "chat.completion",
        "created": created,
        "model": response.model,
        "system_fingerprint": None,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": finish if cutter.sequence is None else "stop",
            }
        ],
    }
    if usage is not None:
        answer["usage"] = chat_usage(usage)
    if response.service_tier is not None:
        answer["service_tier"] = response.service_tier
    encoded = msgspec.json.encode(answer)
    return (restore(encoded) if shielded else encoded), usage


def _message(output: list[Item], sent: Sent, cutter: StopCutter) -> Json:
    texts: list[str] = []
    refusals: list[str] = []
    annotations: list[Json] = []
    calls: list[Json] = []
    summaries: list[str] = []
    thinking: list[Json] = []
    place = 0
    for item in output:
        if cutter.sequence is not None:
            break
        if item.type == "reasoning":
            summary = summary_of(item)
            summaries += [summary] if summary else []
            thinking.append(thinking_block(item, place, summary if sent.expose_thinking else ""))
        elif item.type == "message":
            place += 1
            for part in item.content or ():
                texts.append(cutter.feed(part.text or ""))
                if cutter.sequence is None:
                    refusals.append(part.refusal or "")
                    annotations += [found for each in part.annotations or () if (found := annotation(each)) is not None]
        elif (call := call_of(item)) is not None:
            place += 1
            calls.append(call)
    texts.append(cutter.finish())
    content = "".join(texts)
    refusal = "".join(refusals)
    message: Json = {
        "role": "assistant",
        "content": content if content or not (calls or refusal) else None,
        "refusal": refusal or None,
    }
    if sent.expose_thinking and summaries:
        message["reasoning_content"] = "\n\n".join(summaries)
    if thinking and (calls or sent.expose_thinking):
        message["thinking_blocks"] = thinking
    if annotations:
        message["annotations"] = annotations
    if calls:
        message["tool_calls"] = calls
    return message
