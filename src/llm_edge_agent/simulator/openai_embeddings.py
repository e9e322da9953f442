"""POST /v1/embeddings: vectors of length 1 that depend on the text and the model, as numbers or as base64."""

import base64
import random
import struct
from typing import Any

from llm_edge_agent.simulator import openai_errors, prompts
from llm_edge_agent.simulator.answers import seeded
from llm_edge_agent.simulator.directives import BadDirective, parse
from llm_edge_agent.simulator.endpoint import Asked, Ready, State
from llm_edge_agent.simulator.openai_shapes import EMBEDDINGS
from llm_edge_agent.simulator.records import Billed
from llm_edge_agent.simulator.wire import to_json

_MAX_INPUT_TOKENS = 8192
_MAX_TOTAL_TOKENS = 300_000


def embeddings(state: State, asked: Asked, body: Any) -> Ready:
    """Raises Refused. Directives are read from the first text."""
    if (problem := EMBEDDINGS.problem(body, ())) is not None:
        raise openai_errors.shape_refusal(problem)
    model = state.catalog.openai.get(body["model"])
    if model is None:
        raise openai_errors.no_such_model(body["model"])
    if model.mode != "embedding" and body["model"] not in state.settings.extra_models:
        raise openai_errors.invalid("You are not allowed to generate embeddings from this model", "model", status=403)
    wanted = body.get("dimensions")
    full = model.dimensions or 1536
    if wanted is not None and not model.dimensions_adjustable:
        raise openai_errors.invalid("This model does not support specifying dimensions.", "dimensions")
    if wanted is not None and wanted > full:
        raise openai_errors.invalid(
            f"Invalid value for 'dimensions' = {wanted}. Must be less than or equal to {full}.", "dimensions"
        )
    given = body["input"]
    inputs = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    counts = [prompts.text_segment(each).tokens if isinstance(each, str) else len(each) for each in inputs]
    if max(counts) > _MAX_INPUT_TOKENS:
        raise openai_errors.invalid(
            f"This model's maximum context length is {_MAX_INPUT_TOKENS} tokens, however you requested {max(counts)} "
            f"tokens ({max(counts)} in your prompt; 0 for the completion). Please reduce your prompt.",
            "input",
        )
    total = sum(counts)
    if total > _MAX_TOTAL_TOKENS:
        raise openai_errors.invalid(
            f"Invalid 'input': maximum request size is {_MAX_TOTAL_TOKENS} tokens per request.", "input"
        )
    try:
        directives, _ = parse(inputs[0] if isinstance(inputs[0], str) else "")
    except BadDirective as bad:
        raise openai_errors.invalid(str(bad), "input") from None
    openai_errors.raise_directed(directives, model.id, state.rng)
    vectors = [_vector(model.id, each, wanted or full) for each in inputs]
    if body.get("encoding_format") == "base64":
        data: list[Any] = [base64.b64encode(struct.pack(f"<{len(each)}f", *each)).decode() for each in vectors]
    else:
        data = vectors
    reply = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(data)],
        "model": model.id,
        "usage": {"prompt_tokens": total, "total_tokens": total},
    }
    bill = Billed(provider="openai", model=model.id, input_tokens=total)
    return Ready(body=to_json(reply), bill=lambda output_tokens, aborted: bill, directives=directives)


def _vector(model: str, text: Any, length: int) -> list[float]:
    rng = random.Random(seeded(model, str(text)))  # noqa: S311  a repeatable vector, not a secret
    values = [rng.uniform(-1, 1) for _ in range(length)]
    norm = sum(each * each for each in values) ** 0.5
    return [round(each / norm, 8) for each in values]
