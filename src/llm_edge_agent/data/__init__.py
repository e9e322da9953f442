"""The model and price table as shipped. `models-and-prices.json` says where each figure comes from."""

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import msgspec


def model_document(overrides: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The shipped document with `overrides` merged in by id: known ids are changed member by member, new ones added.

    Prices come as floats whose shortest decimal text is the published price.
    """
    raw = resources.files(__name__).joinpath("models-and-prices.json").read_bytes()
    document: dict[str, Any] = msgspec.json.decode(raw)
    by_id = {record["id"]: record for record in document["models"]}
    for override in overrides:
        record = by_id.get(str(override["id"]))
        if record is None:
            document["models"].append(dict(override))
        else:
            record.update(override)
    return document
