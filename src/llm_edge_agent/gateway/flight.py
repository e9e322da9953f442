"""Single flight: identical requests of one tenant, under way at the same time, share one upstream call.

The first one leads: its call to the provider outlives the client who caused it, where others want the answer. Those
that come meanwhile join, and each ends its own exchange:

    leader whole,  follower whole   told the answer when it is there
    leader whole,  follower stream  told the answer as a stream when it is there
    leader stream, follower stream  what has come so far, then every byte as it comes: upstream bytes are shared, and
                                    each follower translates them for itself
    leader stream, follower whole   told the folded answer at the end

Who leaves, leaves alone; the last one to leave ends the call. A failure is told to all: whatever was worth trying has
been tried, and if each follower tried again the provider would get at once what the flight kept from it. What it cost
is the leader's, also when its client has left; followers paid nothing.

Back-pressure. The leader's client holds the stream back as if it were alone; once it has left, the stream is held back
while all who are left want it. A follower slower than that is cut when it lags `MAX_LAG_BYTES` behind. A stream that
has grown beyond `MAX_RECORD_BYTES` takes no more followers.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.endpoint import AnswerStream, Call
from llm_edge_agent.gateway.exchange import Exchange
from llm_edge_agent.gateway.relay import Relay, Source
from llm_edge_agent.gateway.stored import StoredAnswer
from llm_edge_agent.http.errands import Errand, Signal
from llm_edge_agent.http.messages import Complete
from llm_edge_agent.http.origins import UpstreamFailure

MAX_RECORD_BYTES = 4 * 1024 * 1024
MAX_LAG_BYTES = 1024 * 1024

T = TypeVar("T")
Reply = Complete | Relay


class Share:
    """One member's hold on a shared stream; to its relay it is the upstream. Empty once the relay is done."""

    __slots__ = ("lag_bytes", "paused", "relay", "tee")

    def __init__(self, tee: "Tee") -> None:
        self.tee: Tee | None = tee
        self.relay: Relay | None = None
        self.paused = False
        self.lag_bytes = 0

    def pause(self) -> None:
        self.paused = True
        if self.tee is not None:
            self.tee.settle_flow()

    def resume(self) -> None:
        self.paused = False
        self.lag_bytes = 0
        if self.tee is not None:
            self.tee.settle_flow()

    def close(self) -> None:
        if self.tee is not None:
            self.tee.leave(self)

    def lags(self, chunk: bytes) -> bool:
        """Counts what is to be sent to a client that does not read; whether it is too much by now."""
        if self.paused:
            self.lag_bytes += len(chunk)
        return self.lag_bytes > MAX_LAG_BYTES


class Tee:
    """The upstream bytes of a leader's stream, for everybody. `http.origins.Receiver` towards the upstream.

    A relay and its share hold each other; whoever is done is let go of here, so that nothing outlives its stream."""

    def __init__(
        self,
        flight: "Flight",
        upstream: Source,
        leader: Exchange,
        new_stream: Callable[[Call], AnswerStream],
        on_failure: Callable[[UpstreamFailure], GatewayError],
        conceal: Callable[[bytes], bytes],
    ) -> None:
        """`new_stream` makes the state machine of another client of the same answer. `on_failure` and `conceal` as
        for the leader's relay."""
        self.leader = leader
        self.new_stream = new_stream
        self.on_failure = on_failure
        self.conceal = conceal
        self._flight = flight
        self._upstream = upstream
        self._first = Share(self)
        self._followers: dict[Share, None] = {}
        self._record: list[bytes] | None = []
        self._recorded_bytes = 0
        self._abandoned = False
        """The leader's client has left."""

    @property
    def open(self) -> bool:
        """Whether another stream may still join: all that has come is still at hand."""
        return self._record is not None

    def lead(self, relay_of: Callable[[Share], Relay]) -> Relay:
        """Makes the leader's relay."""
        relay = self._first.relay = relay_of(self._first)
        relay.keep_going = self._goes_on
        return relay

    def follow(self, relay_of: Callable[[Share], Relay]) -> Relay:
        """Makes a follower's relay and tells it all that has come."""
        share = Share(self)
        relay = share.relay = relay_of(share)
        self._followers[share] = None
        relay.commit()  # the leader's stream is open: no failure of it leads to another deployment any more
        for chunk in self._record or ():
            relay.data(chunk)
        return relay

    def _goes_on(self) -> bool:
        """Asked when the leader's client has left: whether the stream goes on without it."""
        if self._followers or self._flight.awaited:
            self._abandoned = True
            self.settle_flow()
            return True
        return False

    # Towards the upstream.

    def data(self, chunk: bytes) -> None:
        leader, record = self._first.relay, self._record
        followers = tuple(self._followers) if self._followers else ()  # who boards meanwhile is told by the record
        if leader is None and not followers:
            self._upstream.close()  # nothing may follow a terminal event
            return
        if record is not None:
            self._recorded_bytes += len(chunk)
            if self._recorded_bytes > MAX_RECORD_BYTES:
                self._record = None
            else:
                record.append(chunk)
        if leader is not None:  # first, since it accounts for the answer, and followers ask what that cost
            leader.data(chunk)
            if leader.done:
                self._release(self._first)
        for share in followers:
            if share.relay is not None:
                if share.lags(chunk):
                    share.relay.refuse(
                        GatewayError(ErrorKind.REQUEST_TIMEOUT, "The client reads too slowly to share an answer.")
                    )
                else:
                    share.relay.data(chunk)
                self._release(share)

    def end(self) -> None:
        for share in (self._first, *self._followers):
            if share.relay is not None:
                share.relay.end()
                self._release(share)

    def failed(self, failure: UpstreamFailure) -> None:
        for share in (self._first, *self._followers):
            if share.relay is not None:
                share.relay.failed(failure)
                self._release(share)

    # Towards the members.

    def settle_flow(self) -> None:
        """Holds the upstream back, or lets it flow."""
        if self._abandoned:
            held = bool(self._followers) and all(share.paused for share in self._followers)
        else:
            held = self._first.paused
        if held:
            self._upstream.pause()
        else:
            self._upstream.resume()

    def leave(self, share: Share) -> None:
        """A member has no more use for the stream. Nobody left: neither has anybody for the upstream."""
        relay, share.relay, share.tee = share.relay, None, None
        if share is self._first:
            self._record = None
            broken = relay.failure if relay is not None else None
            if relay is None or relay.opened.done():  # else another deployment may be asked: the flight goes on
                self._flight.land(broken or GatewayError(ErrorKind.SHUTTING_DOWN, "The gateway is shutting down."))
        else:
            self._followers.pop(share, None)
        if self._first.relay is not None:
            self.end_if_deserted()
        elif not self._followers:
            self._upstream.close()

    def _release(self, share: Share) -> None:
        """Lets go of a relay that is done."""
        if share.relay is not None and share.relay.done:
            share.relay = share.tee = None
            if share is self._first:
                self._record = None
                self._flight.land(None)  # unless it has: an answer that ended well but was cut behind its end
            else:
                self._followers.pop(share, None)

    def end_if_deserted(self) -> None:
        """Ends the call where nobody is there to hear of it."""
        if not self._abandoned or self._first.relay is None:
            return
        if self._followers or self._flight.awaited:
            self.settle_flow()
        else:
            self._first.relay.abort("client_gone")


Landing = Relay | StoredAnswer | GatewayError | None
"""What a follower is told: its stream, an answer, a failure; None: this flight cannot serve it, let it ask the provider
itself."""

Board = Callable[[Tee], Relay]
"""Makes the stream of one who reads along. Called at once, and not when that one next has its turn: a stream that is
over by then tells nobody anything."""


class Seat(Generic[T]):
    """Where one of those who wait is told. Await `signal`, then look at `told`."""

    __slots__ = ("signal", "told")

    def __init__(self) -> None:
        self.signal = Signal()
        self.told: T | None = None

    def tell(self, what: T) -> None:
        """Carries who waits on, at once where it can be. Nothing to one who has left."""
        if not self.signal.done:
            self.told = what
            self.signal.set()


class Flight:
    """One call and who waits for it."""

    __slots__ = ("_errand", "_exchange", "_flights", "_key", "_leader", "_leader_left", "_seats", "_tee", "over")

    def __init__(self, flights: "dict[bytes, Flight]", key: bytes) -> None:
        """`flights` are those that may be joined: this one is among them, under `key`, for as long as it may."""
        self._flights = flights
        self._key = key
        flights[key] = self
        self.over = False
        """Nobody may join any more: all is told."""
        self._errand: Errand[Any] | None = None
        self._leader: Seat[Reply] | None = None
        self._leader_left = False
        self._exchange: Exchange | None = None
        self._tee: Tee | None = None
        self._seats: dict[Seat[Landing], Board | None] = {}
        """Who waits; None: for an answer in one piece."""

    @property
    def awaited(self) -> bool:
        """Whether followers wait to be told something."""
        return bool(self._seats)

    def lead(self, exchange: Exchange, errand: Errand[Any]) -> None:
        """The leader's call is its client's own errand, which goes on where others wait when the client has left.
        `land` ends it."""
        self._exchange = exchange
        self._errand = errand
        errand.goes_on = self._outlives_leader

    def _outlives_leader(self) -> bool:
        if self._exchange is not None:
            self._exchange.left = self._leader_left = True
        return bool(self._seats)

    # A leader that runs in a task of asyncio's (the ASGI adapter): the call is an errand that the flight owns.

    def depart(self, exchange: Exchange, call: Coroutine[Any, Any, Reply]) -> Seat[Reply]:
        """Starts the leader's call, and returns the leader's seat. `leader_leaves` gives it up."""
        self._exchange = exchange
        seat = self._leader = Seat()
        errand = self._errand = Errand(call, self, asyncio.get_running_loop())
        errand.start()
        return seat

    def returned(self, reply: Reply) -> None:
        """The call gave the leader its reply."""
        self._errand = None
        if not isinstance(reply, Relay):
            self.land(None)
        seat, self._leader = self._leader, None
        if seat is not None and not self._leader_left:
            seat.tell(reply)
        elif isinstance(reply, Relay):
            reply.abort("client_gone")  # goes on where it is wanted

    def raised(self, error: BaseException) -> None:
        """The call was cancelled: nobody waited for it any more."""
        self._errand = None
        self.land(None)
        seat, self._leader = self._leader, None
        if seat is not None:
            seat.signal.cancel()

    def leader_leaves(self, seat: Seat[Reply]) -> None:
        """The leader's client has left; what it was given and has not taken goes on only where others want it."""
        if isinstance(seat.told, Relay):
            seat.told.abort("client_gone")
        elif self._exchange is not None:
            self._exchange.left = self._leader_left = True
            self._end_if_deserted()

    # Followers.

    def join(self, board: Board | None) -> Seat[Landing]:
        """A seat, of one who reads along where there is a `board`; `leave` gives it up."""
        seat: Seat[Landing] = Seat()
        if board is not None and self._tee is not None:
            seat.tell(board(self._tee) if self._tee.open else None)
        else:
            self._seats[seat] = board
        return seat

    def leave(self, seat: Seat[Landing]) -> None:
        if isinstance(seat.told, Relay):
            seat.told.abort("client_gone")
            return
        self._seats.pop(seat, None)
        self._end_if_deserted()

    def _end_if_deserted(self) -> None:
        if self._tee is not None:
            self._tee.end_if_deserted()
        elif self._errand is not None and self._leader_left and not self._seats:
            self._errand.cancel()

    # What the call tells.

    def opened(self, tee: Tee) -> None:
        """The leader's answer is a stream, and its first event has come."""
        if not self.over:
            self._tee = tee
        for seat, board in [*self._seats.items()]:
            if board is not None and seat in self._seats and not seat.signal.done:  # else its client has left
                del self._seats[seat]
                seat.tell(board(tee) if tee.open else None)

    def land(self, landing: StoredAnswer | GatewayError | None) -> None:
        """It is over: an answer, a failure, or nothing that could be shared. Only the first call counts."""
        if self.over:
            return
        self.over = True
        del self._flights[self._key]
        self._exchange = self._tee = None
        seats, self._seats = self._seats, {}
        for seat in seats:
            seat.tell(landing)


class Flights:
    """The flights of one process, by cache key: the tenant is part of it, so nobody joins a stranger's."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, Flight] = {}

    def find(self, key: bytes) -> Flight | None:
        return self._by_key.get(key)

    def begin(self, key: bytes) -> Flight:
        return Flight(self._by_key, key)

    def __len__(self) -> int:
        return len(self._by_key)
