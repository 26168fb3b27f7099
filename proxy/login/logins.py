"""Who asks: from the value of an Authorization header to a caller.

A yes is remembered under a keyed hash of what was sent, never in clear, for as long as files and rules stay as they
are; so a request with a login costs no more than one look. A no costs a while: whoever guesses is slowed.
"""

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, NamedTuple

from proxy.core.access import ANONYMOUS, Caller
from proxy.core.allow import names_group
from proxy.core.claims import TokenRefused
from proxy.core.credentials import Credentials, unbasic
from proxy.core.doors import network_of
from proxy.core.errors import LoginRefused
from proxy.core.failed_logins import FORGOTTEN, pause
from proxy.core.file_versions import Look
from proxy.core.htpasswd import proof_of
from proxy.core.seldom import Seldom
from proxy.core.tables import BoundedTable, Tables
from proxy.login.issuers import OURSELVES, Ground, Issuers
from proxy.login.material import NO_SECRETS, LoginSecrets, ReadFile, files_of, material_of, read_contents
from proxy.login.passwords import Passwords
from proxy.login.secret_marks import SecretMarks
from proxy.login.token_keys import TokenKeys
from proxy.login.upstream_logins import UpstreamLogins
from proxy.tasks.file_looks import look_at
from proxy.tasks.flights import Flights
from proxy.tasks.jobs import Jobs
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.logins")

LOOKED_EVERY = 0.5  # seconds: changed files hold within one
_REMEMBERED = 8 << 20  # bytes
_REFUSED = 1 << 20
_REFUSED_FOR = 30.0  # seconds that a wrong password is known as one
_FAILURES = 1 << 20
_GROUPS = 2048  # characters of groups in a token
_LIFETIME = 300.0  # seconds of a token of ours


class Granted(NamedTuple):
    token: str
    seconds: int  # that it lives
    issued: int  # seconds since the epoch, of the world's clock


class Logins:
    """``wanted``: there is a way to log in. ``now`` is the service's clock and ``wall`` the world's, which tokens of
    others go by. ``trouble`` says what is wrong with the files of logins, while what they held before goes on to
    hold."""

    def __init__(
        self,
        pool: Executor,
        tables: Tables,
        jobs: Jobs,
        now: Callable[[], float],
        wall: Callable[[], float],
        read_file: ReadFile,
    ) -> None:
        self.rules, self._contents, self._material = NO_SECRETS
        self.trouble = ""
        self._look: Look | None = None  # before what is in force was read
        self.counts: Counter[str] = Counter(right=0, wrong=0)
        self.wanted = self.rules.allow.logins
        self._pool = pool
        self._now = now
        self._wall = wall
        self._read_file = read_file
        self._mark = SecretMarks().of
        self._own_keys = TokenKeys.random()
        self._passwords = Passwords(lambda: self._material.users, pool)
        self._fetching: Flights[str, None] = Flights(jobs.group)
        self._issuers = Issuers(self.rules, self._material, self._own_keys, pool, self._fetching, now)
        self._marks = self._issuers.marks()
        self._proving: Flights[tuple[bytes, int], Caller] = Flights(jobs.group)
        self._known: BoundedTable[bytes, Caller] = tables.table("logins", _REMEMBERED, weigh=_weight)
        self._refused: BoundedTable[bytes, str] = tables.table("refused logins", _REFUSED, _REFUSED_FOR)
        self._failures: BoundedTable[str, int] = tables.table("failed logins", _FAILURES, FORGOTTEN)
        self._told = Seldom(1.0)
        self._generation = 0
        self.for_upstreams = UpstreamLogins(
            lambda: self._own_keys, lambda: self._issuers, lambda: self._generation, tables, now, wall
        )

    def troubles(self) -> Mapping[str, str]:
        """What is wrong, by what is: empty where all is well."""
        return {"logins": self.trouble} if self.trouble else {}

    # ------------------------------------------------------------ who asks

    def is_over(self, caller: Caller) -> bool:
        """Whether what he has proven has ended."""
        return caller.until <= self._now()

    def recall(self, authorization: bytes) -> Caller | None:
        """As far as memory tells. Nobody is known where nobody can log in."""
        return self._known.peek(self._mark(authorization)) if self.wanted else ANONYMOUS

    async def find(self, authorization: bytes, address: str) -> Caller:
        """Raises LoginRefused, after a while; LoginsUnproven."""
        caller = self.recall(authorization)
        if caller is not None and caller.until > self._now():
            return caller
        mark = self._mark(authorization)
        try:
            caller = await self._proven(mark, authorization, address)
        except TokenRefused as refused:
            raise await self.refused(address, str(refused)) from None
        self.counts["right"] += 1
        return caller

    async def refused(self, address: str, why: str) -> LoginRefused:
        """What to raise for a login that is not right, whoever has found that: counted and told, and after a while."""
        self.counts["wrong"] += 1
        self._tell(address, why)
        await self._slow(address)
        return LoginRefused(why)

    async def _proven(self, mark: bytes, authorization: bytes, address: str) -> Caller:
        """By one proof for all who send the same at the same time, and by files and rules as they are at its end."""
        while True:
            if (why := self._refused.get(mark)) is not None:
                raise TokenRefused(why)
            generation = self._generation
            try:
                caller = await self._proving.join((mark, generation), lambda: self._prove(authorization, address))
            except TokenRefused as refused:
                if generation == self._generation:
                    if authorization[:6].lower() == b"basic ":  # whose proof costs much
                        self._refused.put(mark, str(refused))
                    raise
                continue
            if generation == self._generation:
                self._known.put(mark, caller)
                return caller

    async def _prove(self, authorization: bytes, address: str) -> Caller:
        """Where nobody can log in here, a login is for a registry, and says nothing about who may pull of others."""
        if self.rules.for_upstreams and not self.rules.proves:
            return self.for_upstreams.find(authorization)
        scheme, _, given = authorization.partition(b" ")
        match scheme.lower():
            case b"bearer":
                return await self._prove_token(given.strip())
            case b"basic":
                user, password = _user_and_password(given.strip())
            case _:
                raise TokenRefused("it is neither Basic nor Bearer")
        known = user in self._material.users
        if not known and password.startswith(b"eyJ") and password.count(b".") == 2:
            return await self._prove_token(password)
        await self._passwords.require(user, password, address)
        return Caller(user, ground=f"{Ground.HTPASSWD} {proof_of(self._material.users, user)}")

    async def _prove_token(self, token: bytes) -> Caller:
        wall = self._wall()
        named, ground = await self._issuers.prove(token.decode("latin-1"), wall)
        return Caller(named.name, named.groups, self._now() + named.until - wall, ground)

    async def _slow(self, address: str) -> None:
        network = network_of(address)
        failures = (self._failures.get(network) or 0) + 1
        self._failures.put(network, failures)
        await asyncio.sleep(pause(failures))

    def _tell(self, address: str, why: str) -> None:
        """Once a second for each address: the access log has the rest."""
        if self._told.due(network_of(address), time.monotonic()):
            log.warning("a login from %s is refused: %s", address, why)

    # ------------------------------------------------------------ tokens of our own

    def grant(self, caller: Caller, access: list[dict[str, Any]]) -> Granted:
        """A token that names the caller, and lives no longer than what he has proven."""
        wall = self._wall()
        seconds = int(min(_LIFETIME, max(1.0, caller.until - self._now())))
        claims = {
            "iss": OURSELVES,
            "aud": OURSELVES,
            "sub": caller.name,
            "groups": self._groups(caller),
            "iat": int(wall),
            "exp": wall + min(_LIFETIME, caller.until - self._now()),
            "jti": secrets.token_hex(8),
            "ground": caller.ground or (Ground.CERTIFICATE if caller.name else Ground.NOBODY),
            "access": access,
        }
        if isinstance(caller.login, Credentials):
            claims["login"] = self.for_upstreams.seal(caller.login)
        return Granted(self._own_keys.sign(claims), seconds, int(wall))

    def _groups(self, caller: Caller) -> list[str]:
        """All of them, or those that rules name where a header would not hold all."""
        if sum(map(len, caller.groups)) <= _GROUPS:
            return sorted(caller.groups)
        return sorted(group for group in caller.groups if names_group(self.rules.allow, group))

    # ------------------------------------------------------------ files and rules

    def configure(self, secrets: LoginSecrets) -> None:
        """Holds at once: all that is remembered of logins is forgotten."""
        rules, contents, material = secrets
        if rules.key_file is None and self.rules.key_file is not None:
            self._own_keys = TokenKeys.random()
        self._own_keys = material.token_keys or self._own_keys
        self.rules, self._contents, self._material, self.trouble = rules, contents, material, ""
        self.wanted, self._look = rules.allow.logins, None
        former = self._issuers
        self._issuers = Issuers(rules, material, self._own_keys, self._pool, self._fetching, self._now, former)
        self._marks = self._issuers.marks()
        self._forget()

    async def look(self) -> None:
        """Takes what has changed in the files; what is no good changes nothing, and is told."""
        if not self.wanted:
            return
        for remote in self._issuers.remote.values():
            remote.look()
        if self._issuers.marks() != self._marks:
            self._marks = self._issuers.marks()
            self._forget()
        rules = self.rules
        look = await off_loop(self._pool, partial(look_at, files_of(rules)))
        if look.shows_what(self._look):
            return
        try:
            contents = await off_loop(self._pool, partial(read_contents, rules, self._read_file))
            material = await off_loop(self._pool, partial(material_of, rules, contents))
        except ValueError as refused:
            if str(refused) != self.trouble:
                log.error("a file of logins is refused, all stays as it was: %s", refused)
            self.trouble = str(refused)
            return
        if rules is not self.rules:
            return  # a reload has read them meanwhile, or others
        if contents != self._contents:
            self.configure(LoginSecrets(rules, contents, material))
            log.info("the files of logins have changed, and hold from now on")
        self.trouble, self._look = "", look

    def _forget(self) -> None:
        """Whoever logged in before proves it again."""
        self._generation += 1
        for table in (self._known, self._refused):
            for mark, _ in table.items():
                table.pop(mark)


def _weight(caller: Caller) -> int:
    """Bytes."""
    return 500 + len(caller.name) + len(caller.ground) + sum(100 + len(group) for group in caller.groups)


def _user_and_password(given: bytes) -> tuple[str, bytes]:
    """Raises TokenRefused."""
    try:
        return unbasic(given)
    except ValueError:
        raise TokenRefused("it is no user and password") from None
