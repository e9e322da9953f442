"""The life of a request, top to bottom. `admit` decides what can be decided at once; `answer` waits.

    admit:   read and check -> resolve the model -> cache key -> L1            (synchronous: no task, no waiting)
    answer:  join whoever asks the same, or:                                   (a coroutine)
             L2 -> each that the plan names: translate -> gate -> attempt -> translate back -> account -> store -> reply

What a dialect is like is asked of its `Endpoint` and of the pair's `Translator`.

Authentication came before (`routes.py`); who is asked in what order stands in `attempts.py`, how one is asked in
`dispatch.py`; a stream goes on after (`relay.py`).
"""

import asyncio
from functools import partial
from time import monotonic

from llm_edge_agent.core import cache_policy, strict_json
from llm_edge_agent.core.access import Principal
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.limits import RateLimiter
from llm_edge_agent.dialects import ENDPOINTS
from llm_edge_agent.dialects.endpoint import Endpoint
from llm_edge_agent.gateway.admitted import Admitted, Considered, Door
from llm_edge_agent.gateway.attempts import Attempts
from llm_edge_agent.gateway.dispatch import Dispatch
from llm_edge_agent.gateway.exchange import Exchange
from llm_edge_agent.gateway.faults import internal_error, let_go
from llm_edge_agent.gateway.fleet import Fleet
from llm_edge_agent.gateway.flight import Flight, Flights, Seat
from llm_edge_agent.gateway.gate import Gate
from llm_edge_agent.gateway.miss import Miss
from llm_edge_agent.gateway.pipeline_settings import PipelineSettings
from llm_edge_agent.gateway.prompt_caching import PromptCaching
from llm_edge_agent.gateway.relay import Relay
from llm_edge_agent.gateway.replies import error_reply, warnings_line
from llm_edge_agent.gateway.request_ids import RequestIds
from llm_edge_agent.gateway.retold import Retold
from llm_edge_agent.gateway.settling import Settling
from llm_edge_agent.gateway.stored import Answers
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.errands import running_errand
from llm_edge_agent.http.messages import Complete, Request
from llm_edge_agent.http.pool import UpstreamPool


class Pipeline:
    """Holds the edges that a request to a model meets; keeps nothing of a request."""

    def __init__(
        self,
        settings: PipelineSettings,
        fleet: Fleet,
        pool: UpstreamPool,
        answers: Answers | None,
        prompt_caching: PromptCaching,
        sweep: Sweep,
        ids: RequestIds,
    ) -> None:
        self._settings = settings
        self._fleet = fleet
        self.gate = Gate(settings.bounds)
        self._attempts = Attempts(self.gate, max_retries=settings.max_retries)
        self.limiter = RateLimiter(*settings.rate_limit) if settings.rate_limit is not None else None
        self._answers = answers
        self._shared = answers is not None and answers.shared
        settling = Settling(
            prompt_caching,
            answers,
            longest_ttl_s=settings.longest_ttl_s,
            stale_if_error_s=settings.stale_if_error_s,
        )
        self._ask = Dispatch(
            pool,
            self.gate,
            settling,
            prompt_caching,
            sweep,
            settings.response_metadata,
            max_entry_bytes=answers.max_entry_bytes if answers is not None else 0,
        ).ask
        self._ids = ids
        self._flights = Flights()
        self._retold = Retold(sweep, settings.response_metadata)
        self._hit = self._retold.hit
        self._doors = {name: Door(endpoint) for name, endpoint in ENDPOINTS.items()}

    def adopt(self, settings: PipelineSettings, fleet: Fleet) -> None:
        """From the next request on. Those under way keep the fleet they began with; what was remembered of requests
        (docs/adr/0005) is forgotten. How answers look stays as it was."""
        before, self._settings = self._settings, settings
        self._fleet = fleet
        self.gate.adopt(settings.bounds)
        self._attempts = Attempts(self.gate, max_retries=settings.max_retries)
        if settings.rate_limit != before.rate_limit:
            self.limiter = RateLimiter(*settings.rate_limit) if settings.rate_limit is not None else None
        for door in self._doors.values():
            door.forget()

    def admit(self, request: Request, exchange: Exchange) -> Complete | Miss:
        """Everything that needs no waiting. Raises GatewayError where the request is refused."""
        door = self._doors[exchange.endpoint]
        endpoint = door.endpoint
        raw = request.body
        admitted = door.find(raw)
        if admitted is None:
            admitted = self._read(endpoint, raw)
        call, target = admitted.call, admitted.target
        exchange.stream = call.stream
        exchange.requested_model = admitted.shown_model
        exchange.provider = target.provider
        exchange.model = admitted.known_model
        if admitted.warnings:
            exchange.warnings = admitted.warnings
        headers = request.headers
        passed = endpoint.passed(request.query, headers)
        if exchange.traced is not None:
            exchange.traced.ask(call.body.value)
        control = cache_policy.parse_cache_control(
            headers.get(b"cache-control"), headers.get(b"x-llm-edge-cache-control")
        )
        if admitted.material is None or not (control.read or control.write) or self._answers is None:
            exchange.cache = "bypass"
            return Miss(exchange, endpoint, call, passed, self._fleet, admitted.group, control, None)
        tenant = self._cache_tenant(exchange.principal)
        key = admitted.key(endpoint, tenant, control.namespace, passed, self._answers.epochs)
        stale = None
        if not control.read:
            exchange.cache = "bypass"
        else:
            stored = self._answers.get(key)
            if stored is not None and not stored.serves(control, monotonic()):
                stale, stored = stored, None
            replay = stored.replay(endpoint) if stored is not None else None
            if stored is not None and replay is not None:
                door.remember(raw, admitted)
                reply = self._hit(endpoint, stored, replay, call, exchange)
                if control.max_age_s is None:
                    known = self._fleet, self._answers.epochs.generation
                    reply.again = partial(self._hit_again, known, endpoint, admitted, key, exchange)
                return reply
            exchange.cache = "miss"
        ttl_s = admitted.shorter_ttl_s(control.ttl_s)
        return Miss(
            exchange,
            endpoint,
            call,
            passed,
            self._fleet,
            admitted.group,
            control,
            key if control.write else None,
            ttl_s,
            stale,
        )

    def _cache_tenant(self, principal: Principal) -> str:
        return principal.tenant if self._settings.cache_scope == "tenant" else ""

    def consider(self, request: Request, endpoint_name: str, principal: Principal) -> Considered:
        """What `admit` would find of a request by this door, without doing any of it. Raises GatewayError."""
        endpoint = self._doors[endpoint_name].endpoint
        admitted = self._read(endpoint, request.body)
        headers = request.headers
        control = cache_policy.parse_cache_control(
            headers.get(b"cache-control"), headers.get(b"x-llm-edge-cache-control")
        )
        if admitted.material is None or self._answers is None:
            return Considered(endpoint, admitted, control, None, stored=False)
        tenant, passed = self._cache_tenant(principal), endpoint.passed(request.query, headers)
        key = admitted.key(endpoint, tenant, control.namespace, passed, self._answers.epochs)
        stored = self._answers.get(key)
        fresh = stored is not None and stored.serves(control, monotonic())
        return Considered(endpoint, admitted, control, key, stored=fresh)

    async def is_shared(self, seen: Considered) -> bool:
        """Whether the shared tier holds an answer that would be told."""
        if seen.key is None or self._answers is None or not self._shared:
            return False
        stored = await self._answers.peek(seen.key)
        return stored is not None and stored.serves(seen.control, monotonic())

    def _hit_again(
        self,
        known: tuple[Fleet, int],
        endpoint: Endpoint,
        admitted: Admitted,
        key: bytes,
        before: Exchange,
        received_s: float,
    ) -> Complete | None:
        """The same bytes once more (see `Complete.again`): the caller, the model and the key are those of `before`;
        only the entry may have gone or been purged, or the configuration be another, which may not know the caller any
        more."""
        answers = self._answers
        if answers is None or known[0] is not self._fleet or known[1] != answers.epochs.generation:
            return None
        stored = answers.get(key)
        replay = stored.replay(endpoint) if stored is not None else None
        if stored is None or replay is None or stored.fresh_until_s < received_s:
            return None
        if self.limiter is not None and self.limiter.take(before.key_id, received_s):
            return None  # the long way refuses it
        exchange = before.renewed(self._ids.next(), received_s)
        if stored.provider != before.provider or stored.warnings != before.warnings:
            exchange.memo = None  # another answer than then: not alike
        exchange.stream = admitted.call.stream
        exchange.requested_model = admitted.shown_model
        exchange.model = admitted.known_model
        return self._hit(endpoint, stored, replay, admitted.call, exchange)

    def _read(self, endpoint: Endpoint, raw: bytes) -> Admitted:
        """Reads and checks a body, and resolves its model. Raises GatewayError."""
        call = endpoint.read_request(raw, max_depth=self._settings.max_json_depth)
        group = self._fleet.directory.resolve(call.model)
        target = group.deployments[0]
        material = None
        policy, ttl_s = self._settings.cache_policies.of(call.model, target.upstream_model, target.model.id)
        if (
            self._answers is not None
            and cache_policy.is_cacheable_request(call.body.value, policy)
            and endpoint.cacheable(call)
        ):
            material = strict_json.key_material(call.body, endpoint.not_keyed)
        else:
            strict_json.refuse_doubles(call.body)
        return Admitted(call, group, material, ttl_s)

    async def answer(self, miss: Miss) -> Complete | Relay:
        """The rest of the line, for what could not be answered at once: with others who ask the same, or alone."""
        if miss.key is None or not miss.control.read or miss.control.only_if_cached:
            return await self._alone(miss)
        flight = self._flights.find(miss.key)
        if flight is not None:
            return await self._join(flight, miss)
        flight = miss.flight = self._flights.begin(miss.key)
        runner = running_errand()
        if runner is None:
            return await self._led(flight, flight.depart(miss.exchange, self._alone(miss)))
        flight.lead(miss.exchange, runner)
        reply = None
        try:
            reply = await self._alone(miss)
        finally:
            if not isinstance(reply, Relay):
                flight.land(None)
        return reply

    async def _led(self, flight: Flight, seat: Seat[Complete | Relay]) -> Complete | Relay:
        try:
            await seat.signal
        except asyncio.CancelledError:
            flight.leader_leaves(seat)
            raise
        if seat.told is None:
            raise asyncio.CancelledError
        return seat.told

    async def _alone(self, miss: Miss) -> Complete | Relay:
        """Ends the exchange on every path but a returned Relay, which then owns it."""
        exchange = miss.exchange
        try:
            if self._shared and (found := await self._find(miss)) is not None:
                return found
            if miss.control.only_if_cached:
                raise GatewayError(ErrorKind.NOT_CACHED, "The answer is not in the cache, and none other was wanted.")
            deadline_s = exchange.started_s + self._settings.total_timeout_s
            return await self._attempts.until_answered(miss, self._ask, deadline_s)
        except GatewayError as error:
            return self._stale(miss, error) or self._refused(miss, error)
        except asyncio.CancelledError:
            exchange.end(499, ErrorKind.CLIENT_GONE)
            raise
        except Exception as error:
            return self._refused(miss, internal_error(error, exchange.request_id))

    def _stale(self, miss: Miss, error: GatewayError) -> Complete | None:
        """An expired answer in the place of none, where no provider could give one."""
        stale = miss.stale
        if stale is None or not error.kind.value.try_another or miss.control.max_age_s is not None:
            return None
        replay = stale.replay(miss.endpoint)
        if replay is None:
            return None
        let_go(error)
        if miss.flight is not None:
            miss.flight.land(stale)
        return self._retold.whole(stale, replay, miss)

    def _refused(self, miss: Miss, error: GatewayError) -> Complete:
        exchange = miss.exchange
        exchange.end(error.status, error.kind)
        let_go(error)
        if miss.flight is not None:
            miss.flight.land(error)
        lines = self._error_headers(exchange)
        return error_reply(error, exchange.request_id, endpoint=miss.endpoint, extra_headers=lines)

    async def _join(self, flight: Flight, miss: Miss) -> Complete | Relay:
        """Waits for what another request is being answered."""
        exchange = miss.exchange
        exchange.cache = "join"
        seat = flight.join((lambda tee: self._retold.stream(tee, miss)) if miss.call.stream else None)
        try:
            await seat.signal
        except asyncio.CancelledError:
            flight.leave(seat)
            exchange.end(499, ErrorKind.CLIENT_GONE)
            raise
        landing = seat.told
        if isinstance(landing, Relay):
            return landing
        if isinstance(landing, GatewayError):
            return self._refused(miss, landing)
        if landing is not None and miss.control.max_age_s is not None and not landing.serves(miss.control, monotonic()):
            landing = None  # it was in the cache, and good enough for the leader only
        replay = landing.replay(miss.endpoint) if landing is not None else None
        if landing is not None and replay is not None:
            return self._retold.whole(landing, replay, miss)
        exchange.cache = "miss"
        if landing is None and flight.over:
            return await self.answer(miss)
        return await self._alone(miss)

    async def _find(self, miss: Miss) -> Complete | None:
        """What the shared tier has."""
        answers = self._answers
        if miss.key is None or miss.exchange.cache != "miss" or answers is None:
            return None
        stored = await answers.find(miss.key)
        replay = stored.replay(miss.endpoint) if stored is not None else None
        if stored is None or replay is None:
            return None
        if not stored.serves(miss.control, monotonic()):
            miss.stale = miss.stale or stored
            return None
        if miss.flight is not None:
            miss.flight.land(stored)
        miss.exchange.cache_tier = "l2"
        return self._hit(miss.endpoint, stored, replay, miss.call, miss.exchange)

    def _error_headers(self, exchange: Exchange) -> bytes:
        lines = f"x-llm-edge-provider: {exchange.provider}\r\nx-llm-edge-attempts: {len(exchange.attempts)}\r\n"
        return (
            (lines + warnings_line(exchange.warnings)).encode("ascii") + exchange.route_line + exchange.refusal_headers
        )
