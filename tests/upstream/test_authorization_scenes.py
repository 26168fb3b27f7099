"""Tokens and credentials against a registry that asks for them; the ledger shows what was sent where."""

import asyncio

import pytest

from proxy.core.credentials import Credentials
from proxy.core.errors import (
    CredentialsFailed,
    RateLimited,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
)
from proxy.core.names import Tag
from proxy.upstream.authorization import CredentialSource, no_credentials
from proxy.upstream.forwarding import Forward
from tests.cast import Act, FaultUpstream, Guard, ManualClock, roles
from tests.cast.guard import basic
from tests.upstream.rig import HASTY, NAME, SECRET, client_of, pulled, secret

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
MANIFESTS = f"/v2/{NAME}/manifests"
TAG = Tag("1")


async def test_an_anonymous_token_is_fetched_once_and_carried_from_then_on() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.manifest(NAME, "1", RAW)
        blob = up.blob(NAME, b"bytes")
        up.guard()
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert await pulled(registry, blob) == b"bytes"
        await registry.check_blob(NAME, blob, 5)
        assert [seen.kind for seen in up.ledger] == ["manifest", "token", "manifest", "blob", "blob"]
        assert up.requests("token")[0].target == f"/token?service=cast&scope=repository:{NAME}:pull"
        assert "authorization" not in up.requests("token")[0].headers


async def test_another_repository_of_the_same_registry_needs_no_refusal_first() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        for name in ("a/one", "a/two"):
            up.manifest(name, "1", RAW)
        up.guard()
        await registry.manifest("a/one", TAG)
        await registry.manifest("a/two", TAG)
        assert [seen.kind for seen in up.ledger] == ["manifest", "token", "manifest", "token", "manifest"]
        assert up.ledger[3].target.endswith("scope=repository:a/two:pull")


async def test_credentials_go_to_the_token_server_and_only_the_token_to_the_registry() -> None:
    async with FaultUpstream() as up, client_of(up, credentials=secret) as registry:
        up.manifest(NAME, "1", RAW)
        up.guard(Guard(user=SECRET))
        await registry.manifest(NAME, TAG)
        assert up.requests("token")[0].headers["authorization"] == basic(*SECRET)
        assert [seen.headers.get("authorization", "")[:6] for seen in up.requests("manifest")] == ["", "Bearer"]


@pytest.mark.parametrize(
    ("forward", "scope", "target"),
    [
        (Forward.NS, f"repository:{NAME}:pull", f"/v2/{NAME}/manifests/1?ns=ghcr.io"),
        (Forward.PATH, f"repository:ghcr.io/{NAME}:pull", f"/v2/ghcr.io/{NAME}/manifests/1"),
    ],
)
async def test_another_registry_that_is_asked_in_its_place_gives_tokens_for_the_name_that_it_knows(
    forward: Forward, scope: str, target: str
) -> None:
    async with FaultUpstream() as up, client_of(up, credentials=secret, name="ghcr.io", forward=forward) as registry:
        up.manifest(NAME if forward is Forward.NS else f"ghcr.io/{NAME}", "1", RAW)
        up.guard(Guard(user=SECRET, challenge_scope=False))
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert up.ledger[-1].target == target
        assert up.requests("token")[0].target == f"/token?service=cast&scope={scope}"
        assert up.requests("token")[0].headers["authorization"] == basic(*SECRET)


async def test_a_token_that_dies_early_is_replaced_once_for_all_who_wait() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.manifest(NAME, "1", RAW)
        guard = up.guard()
        await registry.manifest(NAME, TAG)
        guard.revoke()
        await asyncio.gather(*(registry.manifest(NAME, TAG) for _ in range(20)))
        assert guard.given == 2


async def test_tokens_of_short_life_never_reach_the_user() -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock) as registry:
        up.manifest(NAME, "1", RAW)
        guard = up.guard(Guard(form={"expires_in": 20}))
        for _ in range(10):
            await registry.manifest(NAME, TAG)
            clock.advance(30)
        assert guard.given == 10
        assert len(up.requests("manifest")) == 11


@pytest.mark.parametrize("field_name", ["token", "access_token"])
async def test_either_name_of_the_token_will_do(field_name: str) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.manifest(NAME, "1", RAW)
        up.guard(Guard(field_name=field_name, form={}, challenge_scope=False))
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert f"scope=repository:{NAME}:pull" in up.requests("token")[0].target


async def test_a_registry_that_refuses_every_token_is_asked_twice_and_no_more() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        guard = up.guard()
        up.always("manifest", roles.refuses(401, "UNAUTHORIZED", guard.challenge(f"{up.url}/token", NAME)))
        with pytest.raises(UpstreamRefused):
            await registry.manifest(NAME, TAG)
        assert [seen.kind for seen in up.ledger] == ["manifest", "token", "manifest"]


async def only_for_others(name: str) -> Credentials | None:
    return None if name == NAME else SECRET


async def only_here(name: str) -> Credentials | None:
    return SECRET if name == NAME else None


@pytest.mark.parametrize(
    ("credentials", "challenged", "words"),
    [
        (no_credentials, False, "DENIED): no; it was asked without credentials"),
        (only_for_others, False, "DENIED): no; it was asked without credentials"),
        (secret, False, "DENIED): no; it asked for no credentials, so none were sent"),
        (no_credentials, True, "UNAUTHORIZED): no; it was asked with an anonymous token"),
        (only_for_others, True, "UNAUTHORIZED): no; it was asked with an anonymous token"),
        (secret, True, "(401 UNAUTHORIZED): no"),
        (only_here, True, "(401 UNAUTHORIZED): no"),
    ],
)
async def test_a_refusal_says_what_was_sent(credentials: CredentialSource, challenged: bool, words: str) -> None:
    async with FaultUpstream() as up, client_of(up, credentials=credentials) as registry:
        up.always("manifest", roles.refuses(403, "DENIED"))
        if challenged:
            up.always("manifest", roles.refuses(401, "UNAUTHORIZED", up.guard().challenge(f"{up.url}/token", NAME)))
        with pytest.raises(UpstreamRefused) as refusal:
            await registry.manifest(NAME, TAG)
        assert str(refusal.value).endswith(words)
        assert ("authorization" in up.requests("manifest")[-1].headers) is challenged


async def test_wrong_credentials_are_said_to_be_refused_and_are_not_tried_in_a_loop() -> None:
    async with FaultUpstream() as up, client_of(up, credentials=secret) as registry:
        up.guard(Guard(user=("me", "another")))
        for _ in range(3):
            with pytest.raises(UpstreamRefused, match="credentials of 'me' were refused") as refusal:
                await registry.manifest(NAME, TAG)
            assert SECRET.password not in str(refusal.value)
        assert len(up.requests("token")) == 1


async def test_new_credentials_are_tried_at_once() -> None:
    current = [Credentials("me", "old")]

    async def source(name: str) -> Credentials:
        return current[0]

    async with FaultUpstream() as up, client_of(up, credentials=source) as registry:
        up.manifest(NAME, "1", RAW)
        up.guard(Guard(user=("me", "new")))
        with pytest.raises(UpstreamRefused):
            await registry.manifest(NAME, TAG)
        current[0] = Credentials("me", "new")
        assert (await registry.manifest(NAME, TAG)).raw == RAW


async def test_a_realm_of_a_stranger_gets_no_credentials() -> None:
    async with FaultUpstream() as up, FaultUpstream() as thief:
        # another name for the same address, so that it is another host
        url = f"http://localhost:{thief.port}"
        async with client_of(up, credentials=secret) as registry:
            up.manifest(NAME, "1", RAW)
            thief.token_server(up.guard(Guard(realm=f"{url}/token")))
            with pytest.raises(UpstreamBroken, match="not trusted"):
                await registry.manifest(NAME, TAG)
            assert thief.ledger == []
            assert all("authorization" not in seen.headers for seen in up.ledger)


async def test_a_listed_realm_gets_the_credentials_and_a_stranger_may_give_anonymous_tokens() -> None:
    async with FaultUpstream() as up, FaultUpstream() as server:
        url = f"http://localhost:{server.port}"
        guard = up.guard(Guard(realm=f"{url}/token"))
        server.token_server(guard)
        up.manifest(NAME, "1", RAW)
        async with client_of(up, credentials=secret, realms=(url,)) as registry:
            await registry.manifest(NAME, TAG)
        async with client_of(up) as registry:
            await registry.manifest(NAME, TAG)
        assert [seen.headers.get("authorization") for seen in server.ledger] == [basic(*SECRET), None]


@pytest.mark.parametrize("realm", ["ftp://x.test/", "http://u:p@127.0.0.1/token", "http://[::1/", "nonsense"])
async def test_a_realm_that_is_no_url_is_a_broken_upstream(realm: str) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.guard(Guard(realm=realm))
        with pytest.raises(UpstreamBroken):
            await registry.manifest(NAME, TAG)


async def test_a_token_server_at_the_metadata_address_is_never_connected_to() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.guard(Guard(realm="http://169.254.169.254/token"))
        with pytest.raises(UpstreamBroken, match="may not be reached"):
            await registry.manifest(NAME, TAG)


async def test_a_redirect_of_the_token_server_is_not_followed() -> None:
    async with FaultUpstream() as up, FaultUpstream() as thief, client_of(up, credentials=secret) as registry:
        up.guard()
        up.always("token", roles.redirects(f"{thief.url}/token"))
        with pytest.raises(UpstreamFailed, match="307"):
            await registry.manifest(NAME, TAG)
        assert thief.ledger == []
        assert up.requests("token")


@pytest.mark.parametrize(
    ("act", "fault"),
    [
        (roles.fails(503), UpstreamFailed),
        (roles.limits("30"), RateLimited),
        (roles.silent, UpstreamTimeout),
        (roles.answers(200, b"x" * 70_000), UpstreamFailed),
        (roles.answers(200, b"not json"), UpstreamFailed),
        (roles.answers(200, b"{}"), UpstreamFailed),
        (roles.endless, UpstreamFailed),
        (roles.answers(403), UpstreamRefused),
    ],
    ids=["failing", "limiting", "silent", "huge", "not json", "empty", "endless", "forbidding"],
)
async def test_a_token_server_in_trouble_is_named_and_not_asked_in_a_loop(act: Act, fault: type[Exception]) -> None:
    async with FaultUpstream() as up, client_of(up, limits=HASTY) as registry:
        up.guard()
        up.always("token", act)
        for _ in range(20):
            with pytest.raises(fault):
                await registry.manifest(NAME, TAG)
        assert len(up.requests("token")) <= 12  # the pauses grow, whoever pulls


@pytest.mark.parametrize(
    "act", [roles.fails(502), roles.fails(503), roles.limits("2"), roles.ends_early(5), roles.closes_unanswered]
)
async def test_a_token_server_that_stumbles_once_costs_no_pull(act: Act) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.guard()
        digest = up.manifest(NAME, "1", RAW)
        up.plays("token", act)
        assert (await registry.manifest(NAME, TAG)).digest == digest
        assert len(up.requests("token")) == 2


async def test_credentials_that_cannot_be_read_are_our_own_outage_and_ask_nobody_twice() -> None:
    async def unreadable(_: str) -> Credentials | None:
        raise CredentialsFailed("up", "its credentials cannot be read")

    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock, credentials=unreadable) as registry:
        up.guard()
        with pytest.raises(CredentialsFailed):
            await registry.manifest(NAME, TAG)
        assert clock.slept == []


async def test_basic_goes_to_a_registry_that_asks_for_it() -> None:
    async with FaultUpstream() as up, client_of(up, credentials=secret) as registry:
        up.manifest(NAME, "1", RAW)
        up.plays("manifest", roles.refuses(401, "UNAUTHORIZED", 'Basic realm="up"'))
        await registry.manifest(NAME, TAG)
        await registry.manifest(NAME, TAG)
        assert [seen.headers.get("authorization") for seen in up.ledger] == [None, basic(*SECRET), basic(*SECRET)]


async def test_without_credentials_basic_is_a_refusal() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("manifest", roles.refuses(401, "UNAUTHORIZED", 'Basic realm="up"'))
        with pytest.raises(UpstreamRefused):
            await registry.manifest(NAME, TAG)
        assert len(up.ledger) == 1


async def test_a_denial_of_400_means_that_the_bearer_token_is_bad() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.manifest(NAME, "1", RAW)
        guard = up.guard()
        await registry.manifest(NAME, TAG)
        up.plays("manifest", roles.refuses(400, "DENIED"))
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert guard.given == 2


async def test_a_403_is_a_refusal_and_not_an_outage() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("manifest", roles.refuses(403))
        for _ in range(7):
            with pytest.raises(UpstreamRefused, match="403 DENIED"):
                await registry.manifest(NAME, TAG)
        assert len(up.ledger) == 7
