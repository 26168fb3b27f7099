"""The book of ECR tokens: one keeper for each identity and region asks AWS, for all who need the token.

A keeper renews at half life in the background, keeps what it has until its real expiry when AWS fails, has at most one
call in the air, and spaces its calls whatever the answers say. Nothing that is cached depends on it.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from proxy.core.ecr_schedule import AGAIN, CALL_SPACING, EcrToken, may_drop, may_renew, renewal_time
from proxy.core.errors import UpstreamFailed, afresh
from proxy.tasks.flights import Flights
from proxy.tasks.jobs import Jobs
from proxy.upstream.ecr_aws import Aws, Issued
from proxy.upstream.ecr_faults import AwsFault, NoCredentials
from proxy.upstream.ecr_identity import AwsIdentity
from proxy.upstream.settings import Timing

log = logging.getLogger(__name__)

ANONYMOUS_SPELL = 600.0  # seconds after which AWS credentials are looked for again where there were none

Issue = Callable[[], Awaitable[Issued]]


class KeeperStats(NamedTuple):
    """For status and metrics. ``expires_in`` is in seconds, None without a token; ``trouble`` is the last failure's
    sentence, empty after a success."""

    calls: int
    failures: int
    expires_in: float | None
    trouble: str


class TokenKeeper:
    """Keeps one token. ``issue`` gets a new one from AWS and raises AwsFault."""

    def __init__(self, name: str, issue: Issue, timing: Timing, jobs: Jobs) -> None:
        self.name = name
        self._issue = issue
        self._timing = timing
        self._jobs = jobs
        self._token: EcrToken | None = None
        self._fault: AwsFault | None = None
        self._failures = 0  # in a row
        self._calls = self._failed = 0
        self._next_call = self._renewal = timing.now()
        self._dropped_at = -math.inf
        self._flights: Flights[None, None] = Flights(jobs.group)
        self._upkeep: asyncio.Task[None] | None = None

    async def token(self, upstream: str) -> str:
        """The token, for a request to ``upstream``. Waits for AWS only where there is none. Raises UpstreamFault."""
        self._start()
        if not self._usable():
            await self._renew()
        if self._token is not None and self._usable():
            return self._token.value
        fault = self._fault or AwsFault(UpstreamFailed, "no ECR token yet")
        raise fault.towards(upstream, retry_after=max(1.0, self._next_call - self._timing.now()))

    async def successor(self, refused: str) -> str | None:
        """Another token than the one that an upstream refused perhaps for being old, or None where AWS has nothing
        newer; the old one is kept then. Those who were refused with the same token cause one call."""
        token = self._token
        if token is not None and token.value == refused and may_renew(token, self._timing.now()):
            await self._renew()
        current = self._token
        return current.value if current is not None and self._usable() and current.value != refused else None

    def drop(self, refused: str) -> None:
        """The upstream does not know this token: it is used no more, even if no other can be had. A successor may be
        asked for at once, but where AWS itself has just failed."""
        token, now = self._token, self._timing.now()
        if token is None or token.value != refused or not may_drop(self._dropped_at, now):
            return
        self._token, self._dropped_at = None, now
        if self._failures == 0:
            self._next_call = now

    def rest(self) -> None:
        """Asks AWS for nothing until somebody wants the token again; a call in the air ends."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            self._upkeep = None

    @property
    def stats(self) -> KeeperStats:
        """Of this keeper since the start."""
        left = self._token.expires_at - self._timing.now() if self._token else None
        return KeeperStats(self._calls, self._failed, left, self._fault.why if self._fault else "")

    def _usable(self) -> bool:
        return self._token is not None and self._token.usable(self._timing.now())

    def _start(self) -> None:
        if self._upkeep is None:
            self._upkeep = self._jobs.keep("aws tokens", self._keep)

    async def _keep(self) -> None:
        while True:
            due = max(self._renewal, self._next_call)
            if (wait := due - self._timing.now()) > 0:
                await self._timing.sleep(wait)
            else:
                await self._renew()

    async def _renew(self) -> None:
        """Joins the call in the air or makes one, unless it is too soon for another."""
        if None in self._flights or self._timing.now() >= self._next_call:
            await self._flights.join(None, self._ask)

    async def _ask(self) -> None:
        self._calls += 1
        try:
            issued = await self._issue()
        except AwsFault as fault:
            self._missed(fault)
        except Exception as error:
            log.exception("ECR token for %s: unexpected failure", self.name)
            self._missed(AwsFault(UpstreamFailed, f"no ECR token: {type(error).__name__}"))
        else:
            self._received(issued)

    def _received(self, issued: Issued) -> None:
        now = self._timing.now()
        self._token = EcrToken(issued.value, now, issued.lifetime)
        self._fault, self._failures = None, 0
        self._next_call = now + CALL_SPACING
        self._renewal = renewal_time(self._token, self._timing.jitter())

    def _missed(self, fault: AwsFault) -> None:
        self._failures += 1
        self._failed += 1
        self._fault = afresh(fault)  # what was raised holds on to the frames that it came through
        wait = AGAIN.pause(self._failures - 1, self._timing.jitter())
        self._next_call = self._renewal = self._timing.now() + wait
        if self._failures == 1:  # one line for each spell of trouble
            log.warning("no new ECR token for %s: %s", self.name, fault.why)


async def _public_token(aws: Aws) -> Issued:
    """Without credentials in sight ECR Public is read anonymously, which the empty token stands for."""
    try:
        return await aws.ecr_public_token()
    except NoCredentials:
        return Issued("", ANONYMOUS_SPELL)


class EcrTokenBook:
    """All keepers, made on first use, and the AWS side of each identity. What runs belongs to ``jobs``."""

    def __init__(self, jobs: Jobs, timing: Timing | None = None, aws: Callable[[AwsIdentity], Aws] = Aws) -> None:
        self._jobs = jobs
        self._timing = timing or Timing()
        self._make_aws = aws
        self._aws: dict[AwsIdentity, Aws] = {}
        self._private: dict[AwsIdentity, TokenKeeper] = {}
        self._public: dict[AwsIdentity, TokenKeeper] = {}

    def aws(self, identity: AwsIdentity) -> Aws:
        """The one AWS side of the identity, made on first use."""
        if identity not in self._aws:
            self._aws[identity] = self._make_aws(identity)
        return self._aws[identity]

    def private(self, identity: AwsIdentity) -> TokenKeeper:
        """The keeper of the token for private registries of the identity's region."""
        if identity not in self._private:
            self._private[identity] = TokenKeeper(str(identity), self.aws(identity).ecr_token, self._timing, self._jobs)
        return self._private[identity]

    def public(self, identity: AwsIdentity) -> TokenKeeper:
        """The keeper of the token that ECR Public's token endpoint takes."""
        if identity not in self._public:
            issue = partial(_public_token, self.aws(identity))
            self._public[identity] = TokenKeeper(f"ECR Public, {identity}", issue, self._timing, self._jobs)
        return self._public[identity]

    def rest(self) -> None:
        """All keepers do."""
        for keeper in (*self._private.values(), *self._public.values()):
            keeper.rest()

    def stats(self) -> dict[str, KeeperStats]:
        """By the keeper's name, of all that were ever used."""
        keepers = [*self._private.values(), *self._public.values()]
        return {keeper.name: keeper.stats for keeper in keepers}
