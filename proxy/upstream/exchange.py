"""The one loop by which every request is asked: authorize, send, follow, renew once, retry.

It knows neither which client sends nor which scheme authorizes. Authorization goes to the registry's own origin only;
every hop is built afresh, so nothing that the registry is told reaches a host that it redirects to.
"""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import partial
from typing import NamedTuple, TypeVar

from proxy.core.backoff import Backoff
from proxy.core.errors import (
    CredentialsFailed,
    Fault,
    Hint,
    Outage,
    RateLimited,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamFault,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
    WrongBytes,
    hinted,
)
from proxy.core.second_hand import detail_of
from proxy.core.steps import Steps
from proxy.upstream.authorization import Authorizer, Refusal
from proxy.upstream.challenge import parse_challenges
from proxy.upstream.client import HttpAnswer
from proxy.upstream.fault_table import (
    RETRIED,
    Rejection,
    error_code,
    error_reason,
    fault_of,
    first_error,
    what_was_sent,
)
from proxy.upstream.headers import decoded, retry_after
from proxy.upstream.health import Outages, RetryBudget
from proxy.upstream.message import Kind, Request
from proxy.upstream.network import Network
from proxy.upstream.target import Target, TargetRefused, parse_location

T = TypeVar("T")
Send = Callable[[Request], Awaitable[HttpAnswer]]
Understand = Callable[[HttpAnswer, bytes], Steps[T]]
"""What an answer and its whole body mean. Raises faults; an Outage where something else has answered."""

MOST_HOPS = 5
_AGAIN = Backoff(first=0.2, longest=5.0, spread=0.5)  # before a retry
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_URL_REFUSED = frozenset({400, 401, 403, 404, 410})  # by storage: its URL may be too old, or good for once only
_RANGE_REFUSED = frozenset({400, 403, 416, 501})


class Follow(Enum):
    """Which redirects are followed; the others are the answer."""

    ANYWHERE = "anywhere"
    AT_HOME = "at home"


class Ask(NamedTuple):
    """One question to a registry. ``path`` is below its URL and holds the query; ``what`` names it in messages."""

    kind: Kind
    name: str  # of the repository
    path: str
    what: str
    headers: Mapping[str, str] = {}
    method: str = "GET"
    follow: Follow = Follow.ANYWHERE

    def without(self, header: str) -> "Ask":
        """The same question, less that header."""
        return self._replace(headers={name: value for name, value in self.headers.items() if name != header})


class _Failure(NamedTuple):
    fault: Fault
    again: bool  # another try may help
    advised: float = 0.0  # seconds to wait before it, at least
    of_thing: bool = False  # nothing but what was asked for may be to blame


class _ClosedOff(Exception):
    """A host on the way is not asked now."""

    def __init__(self, fault: Outage) -> None:
        self.fault = fault
        super().__init__(str(fault))


class Exchange:
    """Asks one registry. Answers of 400 and more leave as faults, and so does everything that is not an answer."""

    def __init__(self, network: Network, authorizer: Authorizer) -> None:
        self._network = network
        self._authorizer = authorizer
        self._upstream = network.settings.name
        self._home = str(network.home.origin)
        self._named = network.settings.naming.path if network.settings.forward is not None else str
        self._before = network.settings.naming.own("")  # a name, for REGISTRY/REPOSITORY
        self._health = Outages(self._upstream, network.tables)
        self._budget = RetryBudget()

    async def ask(self, ask: Ask, send: Send) -> HttpAnswer:
        """An answer below 400, which the caller closes. Raises what ``contract.Registry`` names, and the absence that
        belongs to the kind of the question."""
        return await self._persist(ask, partial(self.converse, ask, send))

    async def read(self, ask: Ask, send: Send, limit: int, understand: Understand[T]) -> T:
        """What a small answer means, of at most ``limit`` bytes; it is asked for again where it breaks off, or where
        something else has answered. Raises as ``ask`` does."""
        return await self._persist(ask, partial(self._understood, ask, send, limit, understand))

    async def _persist(self, ask: Ask, attempt: Callable[[], Awaitable[T | Rejection]]) -> T:
        timing, limits = self._network.timing, self._network.settings.limits
        if self._network.find is not None:
            await self._network.find()
        self._budget.request()
        until, retries = timing.now() + limits.patience, 0
        while True:
            if (closed := self._closed_off(ask)) is not None:
                raise closed
            outcome = await self._attempt(ask, attempt)
            if not isinstance(outcome, _Failure):
                return outcome
            pause = max(_AGAIN.pause(retries, timing.jitter()), outcome.advised)
            over = retries + 1 >= limits.tries or timing.now() + pause > until or outcome.advised > limits.advised
            if over or not outcome.again or not self._budget.take():
                if outcome.of_thing and isinstance(outcome.fault, Outage):
                    self._health.thing_failed(outcome.fault, ask.what, timing.now())
                if isinstance(outcome.fault, UpstreamFault):
                    self._network.stats.troubled(outcome.fault, timing.now())
                raise outcome.fault
            await timing.sleep(pause)
            retries += 1

    async def _attempt(self, ask: Ask, attempt: Callable[[], Awaitable[T | Rejection]]) -> T | _Failure:
        now = self._network.timing.now
        try:
            outcome = await attempt()
        except RateLimited as limit:  # of a token server, which says nothing about the registry
            return _Failure(limit, True, limit.retry_after)
        except CredentialsFailed as own:
            return _Failure(own, again=False)
        except _ClosedOff as closed:
            return _Failure(closed.fault, again=False)
        except Outage as outage:
            unconnected = isinstance(outage, UpstreamUnreachable) and outage.origin is not None
            again = isinstance(outage, UpstreamUnreachable | UpstreamFailed)
            return _Failure(outage, again, of_thing=not unconnected)
        except WrongBytes as wrong:
            self._health.thing_answered(ask.what)
            return _Failure(wrong, again=True)
        if not isinstance(outcome, Rejection):
            self._health.thing_answered(ask.what)
            return outcome
        if outcome.status == 429:
            return _Failure(self._health.limited(outcome.origin, outcome.retry_after, now()), again=False)
        fault = fault_of(self._upstream, ask.kind, ask.what, outcome)
        if not isinstance(fault, Outage):
            self._health.thing_answered(ask.what)
        if isinstance(fault, UpstreamRefused) and (
            sent := what_was_sent(outcome.authorized, await self._authorizer.identified(ask.name))
        ):
            fault = hinted(fault, sent)
        again = ask.method != "HEAD" and (outcome.status in RETRIED or (outcome.page and isinstance(fault, Outage)))
        return _Failure(fault, again, outcome.retry_after or 0.0, of_thing=True)

    def _closed_off(self, ask: Ask) -> Outage | None:
        now = self._network.timing.now()
        return self._health.thing_closed_off(ask.what, now) or self._health.host_closed_off(self._home, now)

    async def _understood(self, ask: Ask, send: Send, limit: int, understand: Understand[T]) -> T | Rejection:
        answer = await self.converse(ask, send)
        if isinstance(answer, Rejection):
            return answer
        try:
            raw = await answer.read(limit)
        finally:
            await answer.close()
        self._network.stats.received(self._before + ask.name, len(raw))
        if len(raw) > limit:
            raise UpstreamBroken(self._upstream, f"{ask.what}: more than {limit} bytes", Hint.TOO_LARGE)
        return await self._network.jobs.turns.run(self._meaning(ask, answer, raw, limit, understand))

    def _meaning(self, ask: Ask, answer: HttpAnswer, raw: bytes, limit: int, understand: Understand[T]) -> Steps[T]:
        encoding = answer.header("Content-Encoding")
        try:
            content = (yield from decoded(raw, encoding, limit)) if encoding is not None else raw
        except ValueError as fault:
            raise UpstreamBroken(self._upstream, f"{ask.what} cannot be read: {fault}") from fault
        return (yield from understand(answer, content))

    async def converse(self, ask: Ask, send: Send) -> HttpAnswer | Rejection:
        """One try of ``ask``: until there is an answer, or nothing that may turn a refusal. At most one renewal, one
        return to the registry for a fresh URL after its storage refused the old one, and one question without Range
        where that may be what is refused. Raises UpstreamFault kinds."""
        start = Target(self._network.home.origin, self._network.home.path + self._named(ask.path))
        target, hops, renewed, returned = start, 0, False, False
        while True:
            at_home = target.origin == start.origin
            used = await self._authorizer.authorization(ask.name) if at_home else None
            answer = await self._sent(ask, target, used, send)
            if answer.status < 400:
                onward = await self._onward(ask, target, answer)
                if onward is None:
                    return answer
                target, hops = onward, hops + 1
                if hops > MOST_HOPS:
                    raise UpstreamBroken(self._upstream, f"it redirected {ask.what} more than {MOST_HOPS} times")
                continue
            rejection = (await self._rejection(answer, used, at_home=at_home))._replace(origin=str(target.origin))
            if at_home and not renewed and await self._renewed(ask, rejection, used):
                renewed = True
            elif not at_home and not returned and rejection.status in _URL_REFUSED:
                returned = True
            elif "Range" in ask.headers and rejection.status in _RANGE_REFUSED:
                ask = ask.without("Range")
            else:
                return rejection
            target, hops = start, 0

    async def _sent(self, ask: Ask, target: Target, authorization: str | None, send: Send) -> HttpAnswer:
        """One hop; what it tells of the host is remembered. Raises _ClosedOff, and what ``send`` raises."""
        origin, now = str(target.origin), self._network.timing.now
        if origin != self._home and (closed := self._health.host_closed_off(origin, now())) is not None:
            raise _ClosedOff(closed)
        try:
            answer = await send(self._request(ask, target, authorization))
        except UpstreamUnreachable as fault:
            if fault.origin == origin:
                self._health.unconnected(fault, origin, now())
            raise
        except UpstreamTimeout:
            self._health.silent(origin, ask.name, now())
            raise
        if answer.status != 429:
            self._health.host_answered(origin)
        return answer

    async def bare(self, ask: Ask, send: Send) -> Rejection:
        """What the registry answers to one request without authorization, whatever the status. Raises
        UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        start = Target(self._network.home.origin, self._network.home.path + self._named(ask.path))
        return await self._rejection(await send(self._request(ask, start, None)), None, at_home=True)

    def _request(self, ask: Ask, target: Target, authorization: str | None) -> Request:
        headers = dict(ask.headers) if authorization is None else {**ask.headers, "Authorization": authorization}
        host_class = self._network.settings.host_class(target.origin)
        return Request(ask.kind, ask.method, target, headers, host_class, self._network.settings.limits.total)

    async def _onward(self, ask: Ask, here: Target, answer: HttpAnswer) -> Target | None:
        """Where the answer sends us; None where it is the one to return."""
        if 200 <= answer.status < 300:
            return None
        if answer.status not in _REDIRECTS:
            await answer.close()
            raise UpstreamBroken(self._upstream, f"it answered {answer.status} to {ask.what}")
        try:
            onward = parse_location(here, answer.header("Location") or "")
            if here.origin.scheme == "https" and onward.origin.scheme == "http":
                raise TargetRefused("it leads from https to http")
        except TargetRefused as refused:
            await answer.close()
            raise UpstreamBroken(
                self._upstream, f"it redirected {ask.what} in a way not to follow: {refused}"
            ) from refused
        if ask.follow is Follow.AT_HOME and onward.origin != self._network.home.origin:
            return None
        await self.finish(answer)
        return onward

    async def finish(self, answer: HttpAnswer) -> bytes:
        """The little there is of the body, so that the connection can be used again."""
        try:
            return await answer.read(self._network.settings.limits.error)
        except UpstreamFault:
            return b""
        finally:
            await answer.close()

    async def _rejection(self, answer: HttpAnswer, used: str | None, *, at_home: bool) -> Rejection:
        body = await self.finish(answer)
        wait = retry_after(answer.header("Retry-After"), self._network.timing.wall())
        challenges = parse_challenges(answer.headers("WWW-Authenticate"))
        told = first_error(body)
        reason = error_reason(told, used) if at_home else ""
        code, date, page = error_code(told), answer.header("Date"), is_page(answer.header("Content-Type"))
        rejection = Rejection(
            answer.status, code, challenges, wait, at_home, reason, date, page, authorized=used is not None
        )
        return rejection._replace(offline=detail_of(answer.headers("Cache-Status")) == "offline")

    async def _renewed(self, ask: Ask, rejection: Rejection, used: str | None) -> bool:
        if rejection.status not in (400, 401, 403):
            return False
        refusal = Refusal(rejection.status, rejection.challenges, rejection.code)
        return await self._authorizer.renew(ask.name, refusal, used)


def is_page(media_type: str | None) -> bool:
    """Is a body of this Content-Type made for people? No registry answers so in its own name."""
    return (media_type or "").partition(";")[0].strip().lower() in {"text/html", "application/xhtml+xml"}
