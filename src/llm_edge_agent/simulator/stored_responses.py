"""Responses that OpenAI keeps (`store` is not false): they can be read, deleted, and continued."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Item = Mapping[str, Any]
_MAX_RESPONSES = 1000


@dataclass(frozen=True, slots=True)
class StoredResponse:
    body: Item
    context: Sequence[Item]
    """The items of the conversation up to and with this response, its encrypted reasoning included."""
    asked: Sequence[Item]
    """The input items of this one request, with ids."""


class ResponseStore:
    """Stored responses by id and their items by id, oldest forgotten first."""

    def __init__(self) -> None:
        self._responses: OrderedDict[str, StoredResponse] = OrderedDict()

    def keep(self, stored: StoredResponse) -> None:
        self._responses[stored.body["id"]] = stored
        while len(self._responses) > _MAX_RESPONSES:
            self._responses.popitem(last=False)

    def find(self, response_id: str) -> StoredResponse | None:
        return self._responses.get(response_id)

    def delete(self, response_id: str) -> None:
        self._responses.pop(response_id, None)

    def item(self, item_id: str) -> Item | None:
        """A stored item by its id, in the newest response that has it."""
        for stored in reversed(self._responses.values()):
            for item in stored.context:
                if item.get("id") == item_id:
                    return item
        return None
