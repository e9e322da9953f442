"""What Chat Completions alone has: members of a request that neither Messages nor OpenAI's Responses take."""

from llm_edge_agent.dialects.fields import Json, Losses, as_float, flag, integer, items, members, number, unsupported


def refuse_what_only_chat_has(given: Json, losses: Losses, *, droppable: tuple[str, ...]) -> None:
    """Refuses what would change the answer; notes the rest, and the `droppable` members, as dropped. `given` is the
    request without its null members. Raises GatewayError."""
    if "n" in given and integer(given["n"], "n", 1) > 1:
        raise unsupported("Only one choice ('n' of 1) is supported with this model.", "n", "unsupported_value")
    if flag(given.get("logprobs", False), "logprobs"):
        raise unsupported("'logprobs' is not supported with this model.", "logprobs")
    if "top_logprobs" in given and integer(given["top_logprobs"], "top_logprobs", 0) > 0:
        raise unsupported("'top_logprobs' is not supported with this model.", "top_logprobs")
    for index, modality in enumerate(items(given.get("modalities", []), "modalities")):
        if modality != "text":
            raise unsupported(
                "Only text output is supported with this model.", f"modalities[{index}]", "unsupported_value"
            )
    for key in ("audio", "web_search_options"):
        if key in given:
            raise unsupported(f"'{key}' is not supported with this model.", key)
    if members(given.get("logit_bias", {}), "logit_bias"):
        losses.dropped("logit_bias")
    for key in ("frequency_penalty", "presence_penalty"):
        if as_float(number(given.get(key, 0), key)) != 0:
            losses.dropped(key)
    if flag(given.get("store", False), "store"):
        losses.dropped("store")
    for key in droppable:
        if key in given:
            losses.dropped(key)
