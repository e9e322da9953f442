"""What an operator may ask of the cache and do to it. Behind the admin key, and absent without one."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol
from urllib.parse import parse_qs

import msgspec

from llm_edge_agent.cache.epochs import ALL, model_scope, tenant_scope
from llm_edge_agent.core.access import Principal
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import usd
from llm_edge_agent.gateway.admitted import Considered
from llm_edge_agent.gateway.replies import JSON_HEADERS
from llm_edge_agent.gateway.stored import Answers, StoredAnswer
from llm_edge_agent.http.messages import Complete, Request

STATS = "/admin/cache/stats"
ENTRIES = "/admin/cache/entries"
ENTRY = "/admin/cache/entries/{key}"
PURGE = "/admin/cache/purge"
WARM = "/admin/cache/warm"
ENTRY_PREFIX = f"{ENTRIES}/"

DEFAULT_TENANT = "default"
MAX_TENANT = 128


class Keys(Protocol):
    """The part of the pipeline that names entries."""

    def consider(self, request: Request, endpoint_name: str, principal: Principal) -> Considered:
        """Raises GatewayError."""
        ...


class _Purge(msgspec.Struct, forbid_unknown_fields=True):
    tenant: str | None = None
    model: str | None = None
    all: bool = False


_purge_decoder = msgspec.json.Decoder(_Purge)


class CacheAdmin:
    """Answers the admin routes about the cache, by route template."""

    def __init__(
        self,
        answers: Answers | None,
        keys: Keys,
        counts: Callable[[], Mapping[str, Any]],
        model_names: Callable[[str], Sequence[str]],
        *,
        tenants_apart: bool,
    ) -> None:
        """`counts`: what the metrics know of the cache. `model_names`: every name, as cache keys have it, of the model
        that a client calls so. `tenants_apart`: tenants share no entries."""
        self._answers = answers
        self._keys = keys
        self._counts = counts
        self._model_names = model_names
        self._tenants_apart = tenants_apart

    async def reply(self, template: str, request: Request, request_id: str) -> Complete:
        """Raises GatewayError."""
        if template == STATS:
            found: object = self._stats()
        elif template == PURGE:
            found = await self._purge(request)
        elif template == ENTRIES:
            found = await self._entry_of(request)
        else:
            found = await self._entry(request)
        return Complete(
            200, b"%bx-request-id: %b\r\n" % (JSON_HEADERS, request_id.encode()), msgspec.json.encode(found)
        )

    def _stats(self) -> dict[str, Any]:
        answers = self._answers
        return {
            "enabled": answers is not None,
            "l2_configured": answers is not None and answers.shared,
            "l2_healthy": answers is not None and answers.shared_up,
            **self._counts(),
        }

    async def _entry(self, request: Request) -> dict[str, Any]:
        text = request.path.rstrip("/").rpartition("/")[2]
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise GatewayError(ErrorKind.INVALID_REQUEST, "A cache key is 64 hexadecimal digits.", param="key")
        return await self._shown(key, request)

    async def _entry_of(self, request: Request) -> dict[str, Any]:
        key = self._keys.consider(request, "chat", Principal(tenant_of(request), None)).key
        if key is None:
            raise GatewayError(ErrorKind.INVALID_REQUEST, "This request does not meet the cache.")
        return await self._shown(key, request)

    async def _shown(self, key: bytes, request: Request) -> dict[str, Any]:
        answers = self._existing()
        tier, stored = "l1", answers.get(key)
        if stored is None and answers.shared:
            tier, stored = "l2", await answers.find(key)
        if stored is None:
            return {"key": key.hex(), "found": False}
        wanted = parse_qs(request.query).get("answer") == ["true"]
        return {"key": key.hex(), "found": True, "tier": tier, **_description(stored, answer=wanted)}

    async def _purge(self, request: Request) -> dict[str, Any]:
        answers = self._existing()
        try:
            asked = _purge_decoder.decode(request.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            asked = _Purge()
        if (asked.tenant is not None) + (asked.model is not None) + asked.all != 1:
            raise GatewayError(
                ErrorKind.INVALID_REQUEST, 'A purge names one of {"tenant": …}, {"model": …} and {"all": true}.'
            )
        if asked.tenant is not None:
            if not self._tenants_apart:
                raise GatewayError(
                    ErrorKind.INVALID_REQUEST, "All tenants share their entries here: purge a model, or all."
                )
            scopes = [tenant_scope(asked.tenant)]
        elif asked.model is not None:
            scopes = [model_scope(name) for name in self._model_names(asked.model)]
        else:
            scopes = [ALL]
        told = [await answers.epochs.bump(scope) for scope in scopes]
        return {"purged": scopes, "told_everywhere": all(told)}

    def _existing(self) -> Answers:
        if self._answers is None:
            raise GatewayError(ErrorKind.INVALID_REQUEST, "The cache is switched off.")
        return self._answers


def tenant_of(request: Request) -> str:
    """Whose entries a request to the admin API is about: `tenant` of its query."""
    return parse_qs(request.query).get("tenant", [DEFAULT_TENANT])[0][:MAX_TENANT]


def _description(stored: StoredAnswer, *, answer: bool) -> dict[str, Any]:
    now_s = monotonic()
    found: dict[str, Any] = {
        "provider": stored.provider,
        "model": stored.model,
        "age_seconds": round(now_s - stored.stored_s, 3),
        "fresh": stored.fresh_until_s >= now_s,
        "cost_usd": None if stored.cost_picodollars is None else msgspec.Raw(usd(stored.cost_picodollars).encode()),
        "bytes": len(stored.body),
        "warnings": stored.warnings,
    }
    if answer:
        found["answer"] = msgspec.Raw(stored.body)
    return found
