"""What clients send for a registry that decides by it: in Basic or Bearer, or sealed in a token of ours.

Nobody here can tell whether it is right. It is kept in memory, for as long as it is in use, under a keyed hash of what
was sent; a token carries it to whichever replica reads it with the same keys, so that none has to keep it for another.
"""

from collections.abc import Callable

from proxy.core.access import Caller
from proxy.core.claims import TokenRefused, named_by
from proxy.core.credentials import BearerToken, ClientLogin, Credentials, parted, unbasic
from proxy.core.tables import BoundedTable, Tables
from proxy.login.issuers import OURS, OURSELVES, Ground, Issuers
from proxy.login.key_sets import unproven
from proxy.login.secret_marks import SecretMarks
from proxy.login.token_keys import TokenKeys

_REMEMBERED = 8 << 20  # bytes
_KEPT = 600.0  # seconds
LONGEST = 4000
"""Bytes of a login: a token that it is sealed in still fits into a header."""


class UpstreamLogins:
    """``keys`` and ``issuers`` are those that hold now, ``generation`` counts their changes. ``now`` is the service's
    clock and ``wall`` the world's, which tokens go by."""

    def __init__(
        self,
        keys: Callable[[], TokenKeys],
        issuers: Callable[[], Issuers],
        generation: Callable[[], int],
        tables: Tables,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._issuers = issuers
        self._generation = generation
        self._now = now
        self._wall = wall
        self._mark = SecretMarks().of
        self._known: BoundedTable[tuple[bytes, int], Caller] = tables.table(
            "logins for upstreams", _REMEMBERED, _KEPT, weigh=_weight
        )

    def recall(self, authorization: bytes) -> Caller | None:
        """As far as memory tells."""
        return self._known.peek((self._mark(authorization), self._generation()))

    def find(self, authorization: bytes) -> Caller:
        """Whoever sent that. Raises TokenRefused where it can be no login for a registry."""
        key = self._mark(authorization), self._generation()
        caller = self._known.get(key)
        if caller is None:
            caller = self._read(authorization)
            self._known.put(key, caller)
        if caller.until <= self._now():
            raise TokenRefused("it is over")
        return caller

    def seal(self, login: Credentials) -> str:
        """For a token of ours."""
        return self._keys().seal(_joined(login))

    def _read(self, authorization: bytes) -> Caller:
        scheme, _, given = authorization.partition(b" ")
        given = given.strip()
        match scheme.lower():
            case b"basic":
                return self._caller(_credentials(unbasic, given))
            case b"bearer":
                return self._of_token(given.decode("latin-1"))
            case _:
                raise TokenRefused("it is neither Basic nor Bearer")

    def _of_token(self, token: str) -> Caller:
        """One for this cache goes to nobody else, whatever is wrong with it."""
        try:
            _, said = unproven(token)
        except TokenRefused:  # what is no JWT is the registry's own affair
            said = {}
        issuer = said.get("iss")
        if not self._issuers().knows(issuer):
            return self._caller(BearerToken(token))
        if issuer != OURSELVES:
            raise TokenRefused("it is for this cache, and not for the registry")
        claims, wall = self._keys().claims(token), self._wall()
        until = self._now() + named_by(claims, OURS, wall).until - wall
        sealed = claims.get("login")
        if not isinstance(sealed, str):
            return Caller("", until=until, ground=Ground.NOBODY)
        return self._caller(_credentials(parted, self._keys().unseal(sealed)), until)

    def _caller(self, login: ClientLogin, until: float = float("inf")) -> Caller:
        whole = b"basic " + _joined(login) if isinstance(login, Credentials) else b"bearer " + login.token.encode()
        if len(whole) > LONGEST:
            raise TokenRefused(f"a login for a registry has at most {LONGEST} bytes here")
        return Caller("", until=until, ground=Ground.UPSTREAM, login=login, scope=self._mark(whole))


def _joined(login: Credentials) -> bytes:
    return f"{login.username}:{login.password}".encode()


def _credentials(read: Callable[[bytes], tuple[str, bytes]], given: bytes) -> Credentials:
    try:
        user, password = read(given)
        return Credentials(user, password.decode())
    except ValueError:
        raise TokenRefused("it is no user and password") from None


def _weight(caller: Caller) -> int:
    """Bytes."""
    login = caller.login
    return 700 + (sum(map(len, login)) if login is not None else 0)
