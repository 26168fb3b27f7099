"""What clients send for a registry: read, sealed in tokens, told apart, and shown to nobody else."""

import base64
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.core.claims import Expected, TokenRefused
from proxy.core.credentials import BearerToken, Credentials
from proxy.core.tables import Tables
from proxy.login.issuers import OURSELVES, Issuers
from proxy.login.material import Contents, LoginSecrets, Material
from proxy.login.rules import IssuerRules, LoginRules
from proxy.login.token_keys import TokenKeys
from proxy.login.upstream_logins import LONGEST, UpstreamLogins
from proxy.tasks.flights import Flights
from proxy.tasks.group import task_group

NOON = 1_700_000_000.0
ALICE = Credentials("alice", "canary: with a colon")
FIRST, SECOND = b"a secret of more than thirty-two bytes", b"another secret of more than thirty-two bytes"
MakeLogins = Callable[[TokenKeys], UpstreamLogins]


@pytest.fixture
async def make() -> AsyncIterator[MakeLogins]:
    rules = LoginRules(issuers=(IssuerRules(Expected("https://issuer.test", OURSELVES), Path("/nowhere")),))
    async with task_group() as group:
        with ThreadPoolExecutor(1) as pool:

            def made(keys: TokenKeys) -> UpstreamLogins:
                secrets = LoginSecrets(rules, Contents(None, (None,), None), Material({}, (None,), keys))
                issuers = _issuers(secrets, keys, pool, Flights(group))
                tables = Tables(lambda: NOON)
                return UpstreamLogins(lambda: keys, lambda: issuers, lambda: 0, tables, lambda: NOON, lambda: NOON)

            yield made


def _issuers(secrets: LoginSecrets, keys: TokenKeys, pool: ThreadPoolExecutor, flights: Flights[str, None]) -> Issuers:
    return Issuers(secrets.rules, secrets.material, keys, pool, flights, lambda: NOON)


def basic(login: Credentials) -> bytes:
    return b"Basic " + base64.b64encode(f"{login.username}:{login.password}".encode())


def token(keys: TokenKeys, **claims: object) -> bytes:
    said = {"iss": OURSELVES, "aud": OURSELVES, "sub": "", "exp": NOON + 300, **claims}
    return b"Bearer " + keys.sign(said).encode()


def test_one_login_is_one_scope_however_it_is_sent(make: MakeLogins) -> None:
    keys = TokenKeys.parse(FIRST)
    logins = make(keys)
    sent = logins.find(basic(ALICE))
    carried = logins.find(token(keys, login=logins.seal(ALICE)))
    assert sent.login == carried.login == ALICE
    assert sent.scope == carried.scope != b""
    assert logins.find(basic(ALICE._replace(password="other"))).scope != sent.scope
    assert logins.recall(basic(ALICE)) is sent
    assert (sent.until, carried.until) == (float("inf"), NOON + 300)
    assert "canary" not in repr((sent, carried))


def test_a_token_shows_nothing_of_what_is_sealed_in_it(make: MakeLogins) -> None:
    keys = TokenKeys.parse(FIRST)
    logins = make(keys)
    one, two = logins.seal(ALICE), logins.seal(ALICE)
    assert one != two
    assert b"canary" not in base64.urlsafe_b64decode(one)


def test_replicas_with_the_same_key_read_it_and_others_do_not(make: MakeLogins) -> None:
    written = token(TokenKeys.parse(FIRST), login=make(TokenKeys.parse(FIRST)).seal(ALICE))
    assert make(TokenKeys.parse(FIRST)).find(written).login == ALICE
    with pytest.raises(TokenRefused, match="signature"):
        make(TokenKeys.parse(SECOND)).find(written)
    forged = token(TokenKeys.parse(FIRST), login=make(TokenKeys.parse(SECOND)).seal(ALICE))
    with pytest.raises(TokenRefused, match="sealed"):
        make(TokenKeys.parse(FIRST)).find(forged)


def test_what_is_for_this_cache_goes_to_no_registry(make: MakeLogins) -> None:
    keys = TokenKeys.parse(FIRST)
    logins = make(keys)
    assert logins.find(token(keys)).login is None
    for refused in (token(keys, exp=NOON - 1), token(TokenKeys.random()), token(keys, iss="https://issuer.test")):
        with pytest.raises(TokenRefused):
            logins.find(refused)


def test_what_a_registry_gave_is_passed_on_as_it_is(make: MakeLogins) -> None:
    logins, keys = make(TokenKeys.random()), TokenKeys.random()
    assert logins.find(b"Bearer opaque").login == BearerToken("opaque")
    theirs = token(keys, iss="https://registry.test")
    assert logins.find(theirs).login == BearerToken(theirs[7:].decode())
    assert "opaque" not in repr(logins.find(b"Bearer opaque"))


@pytest.mark.parametrize(
    "sent",
    [b"Basic ???", b"Basic " + base64.b64encode(b"no colon"), b"Digest x", b"", basic(Credentials("a", "b" * LONGEST))],
)
def test_what_can_be_no_login_is_refused(make: MakeLogins, sent: bytes) -> None:
    with pytest.raises(TokenRefused):
        make(TokenKeys.random()).find(sent)


def test_the_longest_login_fits_into_a_header(make: MakeLogins) -> None:
    keys = TokenKeys.parse(FIRST)
    logins = make(keys)
    login = Credentials("a", "b" * (LONGEST - 10))
    assert logins.find(basic(login)).login == login
    access = [{"type": "repository", "name": "n" * 300, "actions": ["pull"]}]
    carried = token(keys, login=logins.seal(login), access=access, jti="0" * 16, ground="upstream", iat=int(NOON))
    assert len(b"authorization: " + carried) < 8190
