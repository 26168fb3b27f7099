"""Bearer tokens of issuers that the configuration trusts, and those that only look like them."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from proxy.core.allow import AllowRule, AllowRules
from proxy.core.claims import Expected
from proxy.login.material import LoginSecrets
from proxy.login.rules import IssuerRules, LoginRules
from tests.cast import FaultUpstream, ManualClock
from tests.cast.issuer import AUDIENCE, ISSUER, Issuer, assembled
from tests.cast.served import served
from tests.cast.visitors import ask, basic, bearer, htpasswd, token
from tests.scenarios.house import APP, NAME, House, HouseRules, manifest_path

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
ALLOW = (AllowRule(("group:ci",), (f"{NAME}/{APP}",)), AllowRule(("user:alice",), (f"{NAME}/other/*",)))
NOW = 1_700_000_000.0


@pytest.fixture
def rules(issuer: Issuer, tmp_path: Path) -> HouseRules:
    return HouseRules(logins=logins(tmp_path, tmp_path / "jwks.json"))


def logins(folder: Path, keys: Path | str) -> LoginRules:
    allow = AllowRules.of(ALLOW, logins=True, anonymous=False)
    expected = Expected(ISSUER, AUDIENCE, "groups")
    return LoginRules(allow, htpasswd(folder / "htpasswd"), (IssuerRules(expected, keys),))


def good(issuer: Issuer, clock: ManualClock, **claims: Any) -> dict[str, str]:
    return bearer(issuer.token(now=clock(), groups=["ci"], **claims))


async def test_a_token_of_a_trusted_issuer_is_a_login(
    house: House, upstream: FaultUpstream, issuer: Issuer, clock: ManualClock
) -> None:
    upstream.manifest(APP, "v1", RAW)
    for _ in range(4):
        assert (await ask(house, manifest_path("v1"), good(issuer, clock))).body == RAW
    ungrouped = bearer(issuer.token(now=clock()))
    assert (await ask(house, manifest_path("v1"), ungrouped)).status == 404
    assert (await ask(house, "/v2/", ungrouped)).status == 200


async def test_it_is_taken_as_a_password_and_for_a_token_of_ours_too(
    house: House, upstream: FaultUpstream, issuer: Issuer, clock: ManualClock
) -> None:
    """As credential providers and clients that know nothing but passwords send it."""
    upstream.manifest(APP, "v1", RAW)
    given = good(issuer, clock)["Authorization"].removeprefix("Bearer ")
    login = basic("anybody", given)
    assert (await ask(house, manifest_path("v1"), login)).body == RAW
    ours = bearer(await token(house, login))
    assert (await ask(house, manifest_path("v1"), ours)).body == RAW


async def test_what_rests_on_a_token_ends_with_it(
    house: House, upstream: FaultUpstream, issuer: Issuer, clock: ManualClock
) -> None:
    upstream.manifest(APP, "v1", RAW)
    short = good(issuer, clock, exp=int(clock()) + 60)
    ours = bearer(await token(house, short))
    async with await house.connect() as client:
        for login in [short, ours] * 3:
            await client.ask(manifest_path("v1"), login)
            assert (await client.reply()).status == 200
        clock.advance(60 + 31)  # the clocks of issuers may be off by half a minute
        for login in (short, ours):
            await client.ask(manifest_path("v1"), login)
            assert (await client.reply()).status == 401


FORGED: dict[str, Callable[[Issuer], str]] = {
    "expired": lambda issuer: issuer.token(now=NOW, exp=int(NOW) - 60),
    "of another issuer": lambda issuer: issuer.token(now=NOW, iss="https://evil.test"),
    "for another audience": lambda issuer: issuer.token(now=NOW, aud="vault"),
    "for nobody": lambda issuer: issuer.token(now=NOW, sub=""),
    "without an end": lambda issuer: issuer.token(now=NOW, exp=None),
    "not begun": lambda issuer: issuer.token(now=NOW, nbf=int(NOW) + 600),
    "by another key": lambda issuer: Issuer().token(now=NOW),
    "by a key that is not known": lambda issuer: Issuer(kid="two").token(now=NOW),
    "signed by nobody": lambda issuer: assembled({"alg": "none", "kid": "one"}, issuer.claims(NOW)),
    "by a shared secret": lambda issuer: assembled({"alg": "HS256", "kid": "one"}, issuer.claims(NOW), b"x" * 32),
    "as one of ours": lambda issuer: issuer.token(now=NOW, iss="entrepot", aud="entrepot", ground="anonymous"),
    "no token": lambda issuer: "eyJ.eyJ.x",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
async def test_a_token_that_does_not_count_is_a_wrong_login(
    house: House, upstream: FaultUpstream, issuer: Issuer, forged: Callable[[Issuer], str]
) -> None:
    upstream.manifest(APP, "v1", RAW)
    for path in (manifest_path("v1"), "/v2/", "/token"):
        assert (await ask(house, path, bearer(forged(issuer)))).status == 401
    assert (await ask(house, "/v2/", basic("anybody", forged(issuer)))).status == 401
    assert upstream.ledger == []


async def test_changed_keys_hold_within_a_second(
    house: House, upstream: FaultUpstream, issuer: Issuer, clock: ManualClock, tmp_path: Path
) -> None:
    upstream.manifest(APP, "v1", RAW)
    old = good(issuer, clock)
    ours = bearer(await token(house, old))
    for login in (old, ours):
        assert (await ask(house, manifest_path("v1"), login)).status == 200
    following = Issuer(kid="two")
    following.publish(tmp_path / "jwks.json")
    changed = time.monotonic()
    while (await ask(house, manifest_path("v1"), old)).status == 200:
        await asyncio.sleep(0.01)
    assert time.monotonic() - changed < 1.5
    assert (await ask(house, manifest_path("v1"), ours)).status == 401
    assert (await ask(house, manifest_path("v1"), good(following, clock))).status == 200


# ---------------------------------------------------------------- keys at a URL


class KeyServer:
    """Publishes the key set of ``issuer``, nothing while that is None."""

    def __init__(self) -> None:
        self.issuer: Issuer | None = None
        self.asked = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                if server.issuer is None:
                    self.send_error(503)
                    return
                body = json.dumps(server.issuer.key_set()).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/keys"

    @contextmanager
    def serving(self) -> Iterator["KeyServer"]:
        with served(self._server):
            yield self


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    with KeyServer().serving() as server:
        yield server


@pytest.fixture
def by_url(house: House, key_server: KeyServer, tmp_path: Path) -> House:
    rules = logins(tmp_path, key_server.url)
    house.admissions.configure(LoginSecrets.read(rules, lambda path, limit: path.read_bytes()))
    return house


async def test_keys_are_fetched_when_a_token_needs_them_and_kept(
    by_url: House, upstream: FaultUpstream, issuer: Issuer, key_server: KeyServer, clock: ManualClock
) -> None:
    upstream.manifest(APP, "v1", RAW)
    key_server.issuer = issuer
    for number in range(5):
        assert (await ask(by_url, manifest_path("v1"), good(issuer, clock, jti=str(number)))).status == 200
    assert key_server.asked == 1
    key_server.issuer = None
    clock.advance(400)
    assert (await ask(by_url, manifest_path("v1"), good(issuer, clock))).status == 200


async def test_a_key_that_is_not_known_yet_is_asked_for_at_a_bounded_pace(
    by_url: House, upstream: FaultUpstream, issuer: Issuer, key_server: KeyServer, clock: ManualClock
) -> None:
    upstream.manifest(APP, "v1", RAW)
    key_server.issuer = issuer
    assert (await ask(by_url, manifest_path("v1"), good(issuer, clock))).status == 200
    following = Issuer(kid="two")
    assert (await ask(by_url, manifest_path("v1"), good(following, clock))).status == 401
    assert (await ask(by_url, manifest_path("v1"), good(following, clock, jti="1"))).status == 401
    assert key_server.asked == 1
    key_server.issuer = following
    clock.advance(10)
    assert (await ask(by_url, manifest_path("v1"), good(following, clock, jti="2"))).status == 200
    assert key_server.asked == 2
    assert (await ask(by_url, manifest_path("v1"), good(issuer, clock, jti="3"))).status == 401


async def test_keys_that_cannot_be_had_are_an_outage_and_no_refusal(
    by_url: House, issuer: Issuer, key_server: KeyServer, clock: ManualClock
) -> None:
    reply = await ask(by_url, "/v2/", good(issuer, clock))
    assert reply.status == 503
    assert key_server.asked == 1
    assert (await ask(by_url, "/v2/", basic("alice"))).status == 200
