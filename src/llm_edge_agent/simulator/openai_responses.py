"""POST /v1/responses, and the stored responses: read, deleted, continued, their input counted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llm_edge_agent.simulator import openai_errors, prompts
from llm_edge_agent.simulator.answers import answer, declining, thought
from llm_edge_agent.simulator.catalog import OpenAIModel
from llm_edge_agent.simulator.directives import BadDirective, parse
from llm_edge_agent.simulator.endpoint import Asked, Ready, State
from llm_edge_agent.simulator.openai_prompt import REFUSAL
from llm_edge_agent.simulator.openai_response import Reply
from llm_edge_agent.simulator.openai_responses_prompt import items_of, last_user_text, segments, turn
from llm_edge_agent.simulator.openai_responses_rules import check, check_items, kind
from llm_edge_agent.simulator.openai_responses_shapes import INPUT_TOKENS, RESPONSES
from llm_edge_agent.simulator.shapes import Record
from llm_edge_agent.simulator.stored_responses import StoredResponse
from llm_edge_agent.simulator.wire import to_json

Body = Mapping[str, Any]
Item = Mapping[str, Any]
PATH = "/v1/responses"


def create(state: State, asked: Asked, body: Any) -> Ready:
    """Raises Refused."""
    model, items, own = _checked(state, body, RESPONSES)
    try:
        directives, prompt = parse(last_user_text(items))
    except BadDirective as bad:
        raise openai_errors.invalid(str(bad), "input") from None
    found = segments(body, items)
    input_tokens = prompts.prompt_tokens(found)
    if input_tokens > model.context_window:
        raise openai_errors.invalid(
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            "input",
            "context_length_exceeded",
        )
    openai_errors.raise_directed(directives, model.id, state.rng)
    use = state.cache.implicit(model.id, found, input_tokens, asked.now_s)
    said = declining(answer(turn(body, items, model, directives, prompt)), REFUSAL)
    reply = Reply(state, asked, body, model, said, thought(prompt), input_tokens, use)

    def succeeded() -> None:
        state.cache.remember(use, asked.now_s)
        if body.get("store") is not False:
            named = [_named(state, item) for item in own]
            context = [*items, *reply.sealed_output()]
            state.responses.keep(StoredResponse(reply.whole(), context, named))

    return Ready(
        body=b"" if body.get("stream") else to_json(reply.whole()),
        pieces=reply.pieces if body.get("stream") else None,
        error_event=reply.failed_event if directives.mode == "failed" else reply.error_event,
        output_tokens=said.output_tokens,
        hidden_tokens=said.reasoning_tokens,
        bill=reply.bill,
        on_success=succeeded,
        directives=directives,
    )


def count_input(state: State, asked: Asked, body: Any) -> Ready:
    """POST /v1/responses/input_tokens. Raises Refused."""
    _, items, _ = _checked(state, body, INPUT_TOKENS)
    counted = prompts.prompt_tokens(segments(body, items))
    return Ready(body=to_json({"object": "response.input_tokens", "input_tokens": counted}))


def _checked(state: State, body: Any, shape: Record) -> tuple[OpenAIModel, list[Item], list[Item]]:
    """The model, the whole conversation, and the part of it that this request brought."""
    if (problem := shape.problem(body, ())) is not None:
        raise openai_errors.shape_refusal(problem)
    if "model" not in body:
        raise openai_errors.invalid("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    model = _model(state, body["model"])
    if body.get("input") is None and not any(body.get(each) for each in ("previous_response_id", "prompt")):
        raise openai_errors.invalid(
            "One of 'input' or 'previous_response_id' or 'prompt' or 'conversation' must be provided.",
            "input",
            "missing_required_parameter",
        )
    check(body, model)
    before: Sequence[Item] = ()
    previous = body.get("previous_response_id")
    if previous:
        stored = state.responses.find(previous)
        if stored is None:
            raise openai_errors.invalid(
                f"Previous response with id '{previous}' not found.",
                "previous_response_id",
                "previous_response_not_found",
            )
        before = stored.context
    own = [_resolved(state, item) for item in items_of(body.get("input"))]
    items = [*before, *own]
    check_items(items, len(before), model)
    return model, items, own


def _model(state: State, name: str) -> OpenAIModel:
    model = state.catalog.openai.get(name)
    if model is None or model.retired or model.mode not in ("chat", "responses"):
        raise openai_errors.invalid(
            f"The requested model '{name}' does not exist.", "model", "model_not_found", status=400
        )
    return model


def _resolved(state: State, item: Item) -> Item:
    """The item itself, or the stored one that it stands for. Reasoning without its content has to be stored."""
    bare = kind(item) == "reasoning" and item.get("encrypted_content") is None
    if kind(item) != "item_reference" and not bare:
        return item
    found = state.responses.item(item.get("id", ""))
    if found is None:
        raise openai_errors.invalid(
            f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false. Try "
            "again with `store` set to true, or remove this item from your input.",
            "input",
            status=404,
        )
    return found


def _named(state: State, item: Item) -> Item:
    """An input item as it is listed: with an id, its content in parts."""
    prefix = {"message": "msg_", "reasoning": "rs_"}.get(kind(item), "fc_")
    named = {"id": state.identifier(prefix, 48), "type": kind(item), **item}
    if kind(item) == "message" and isinstance(item["content"], str):
        part = "output_text" if item["role"] == "assistant" else "input_text"
        named["content"] = [{"type": part, "text": item["content"]} | ({} if part == "input_text" else _PLAIN)]
    if kind(item) == "message":
        named.setdefault("status", "completed")
    return named


_PLAIN: dict[str, Any] = {"annotations": [], "logprobs": []}


def stored(state: State, asked: Asked) -> Ready:
    """GET and DELETE of one response, GET of its input items, POST of its cancellation. Raises Refused."""
    response_id, _, part = asked.path.removeprefix(f"{PATH}/").partition("/")
    routes: dict[tuple[str, str], Callable[[State, StoredResponse], Any]] = {
        ("GET", ""): lambda state, found: found.body,
        ("DELETE", ""): _delete,
        ("GET", "input_items"): _input_items,
        ("POST", "cancel"): _cancel,
    }
    route = routes.get((asked.method, part))
    if route is None:
        raise openai_errors.invalid(f"Invalid URL ({asked.method} {asked.path})", code="unknown_url", status=404)
    found = state.responses.find(response_id)
    if found is None:
        raise openai_errors.invalid(f"Response with id '{response_id}' not found.", status=404)
    return Ready(body=to_json(route(state, found)))


def _delete(state: State, found: StoredResponse) -> Any:
    state.responses.delete(found.body["id"])
    return {"id": found.body["id"], "object": "response.deleted", "deleted": True}


def _input_items(state: State, found: StoredResponse) -> Any:
    """Newest first, as the endpoint's default order has them."""
    items = list(reversed(found.asked))
    first, last = (items[0]["id"], items[-1]["id"]) if items else ("", "")
    return {"object": "list", "data": items, "has_more": False, "first_id": first, "last_id": last}


def _cancel(state: State, found: StoredResponse) -> Any:
    raise openai_errors.invalid("Cannot cancel a synchronous response.")
