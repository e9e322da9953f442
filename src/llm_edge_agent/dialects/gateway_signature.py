"""Signatures of thinking blocks that the gateway made itself out of another vendor's reasoning.

They begin with `lea1.` and mean nothing to Anthropic, so a translation towards it leaves such blocks out. Behind the
prefix may stand an encrypted reasoning item of OpenAI's Responses API: the client keeps it and sends it back with its
history, so that a tool loop goes on with its reasoning and the gateway remembers nothing. What comes back is the
client's word and is read as such: it can only become an item that OpenAI itself decrypts or refuses.
"""

import base64
import binascii

import msgspec

PREFIX = "lea1."


class KeptReasoning(msgspec.Struct, frozen=True):
    """One reasoning item of a Responses answer that wants to be sent back."""

    id: str
    encrypted_content: str
    place: int = 0
    """How many messages and calls of the same answer came before it."""


_decoder = msgspec.json.Decoder(KeptReasoning)


def sign(kept: KeptReasoning | None = None) -> str:
    """The signature that carries `kept`, or nothing."""
    if kept is None:
        return PREFIX
    return PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(kept)).decode()


def is_own(signature: object) -> bool:
    return isinstance(signature, str) and signature.startswith(PREFIX)


def kept_reasoning(signature: object) -> KeptReasoning | None:
    """What a signature carries; None where it is another's, carries nothing, or was tampered with."""
    if not isinstance(signature, str) or not signature.startswith(PREFIX):
        return None
    try:
        return _decoder.decode(base64.b64decode(signature[len(PREFIX) :], altchars=b"-_", validate=True))
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        return None
