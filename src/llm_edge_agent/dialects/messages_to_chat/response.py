"""A whole chat completion as a Messages answer (mapping section 7, reverse)."""

import msgspec

from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat import is_error
from llm_edge_agent.dialects.gateway_signature import sign
from llm_edge_agent.dialects.messages_to_chat.sent import Sent
from llm_edge_agent.dialects.messages_to_chat.wire import (
    FINISH_REASONS,
    Block,
    CallPiece,
    Head,
    MessagePiece,
    call_id,
    message,
    message_id,
    stop_reason,
)
from llm_edge_agent.dialects.provider_json import decode, decoder, restore, upstream_invalid
from llm_edge_agent.dialects.stop_sequences import StopCutter


class _Choice(msgspec.Struct):
    message: MessagePiece
    finish_reason: str | None = None


class _Completion(Head):
    choices: list[_Choice] = msgspec.field(default_factory=list)


_decoder = decoder(_Completion)


def translate_response(body: bytes, sent: Sent) -> tuple[bytes, TokenUsage | None, str]:
    """The `message` object, what the answer used, and its finish reason in OpenAI's words.

    Raises GatewayError (UPSTREAM_INVALID) for anything that is no finished chat completion, an error object included.
    """
    completion, shielded = decode(_decoder, body)
    if is_error(completion.error) or not completion.choices:
        raise upstream_invalid("The provider's answer is not a chat completion.")
    choice = completion.choices[0]
    if choice.finish_reason is None:
        raise upstream_invalid("The provider's answer has no finish reason.")
    cutter = StopCutter(sent.stop_sequences)
    blocks = _blocks(choice.message, sent, cutter, message_id(completion.id))
    refused = bool(choice.message.refusal)
    stop = stop_reason(choice.finish_reason, blocks, refused=refused, cut=cutter.sequence is not None)
    usage = completion.tokens()
    answer = message(completion, blocks, sent, stop=stop, stop_sequence=cutter.sequence, usage=usage)
    return (restore(answer) if shielded else answer), usage, FINISH_REASONS[stop]


def _blocks(said: MessagePiece, sent: Sent, cutter: StopCutter, answer_id: str) -> list[Block]:
    blocks: list[Block] = []
    if not sent.hide_thinking:
        for thinking, signature in said.signed or ([(said.thinking, sign())] if said.thinking else []):
            shown = [] if sent.omit_thinking else [thinking]
            blocks.append(Block("thinking", pieces=shown, signature=signature))
    text = cutter.feed(said.text)
    text += cutter.finish()
    if cutter.sequence is None:
        text += said.refusal or ""
    if text:
        blocks.append(Block("text", pieces=[text]))
    if cutter.sequence is not None:
        return blocks
    calls = said.tool_calls or []
    if said.function_call is not None:
        calls = [CallPiece(function=said.function_call)]
    for position, call in enumerate(calls):
        function = call.function
        if function is None or not function.name:
            raise upstream_invalid("The provider's answer has a tool call without a name.")
        own = call_id(call.id, answer_id, position)
        blocks.append(Block("tool_use", id=own, name=function.name, pieces=[function.arguments or ""]))
    return blocks
