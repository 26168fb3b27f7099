"""A ping goes the way of pulls, so that it says what a pull would meet."""

import pytest

from proxy.core.credentials import Credentials
from proxy.core.errors import CredentialsFailed, UpstreamUnreachable
from proxy.upstream.authorization import CredentialSource
from proxy.upstream.contract import PingResult
from tests.cast import Act, FaultUpstream, Line, roles
from tests.upstream.rig import SECRET, client_of, secret


async def wrong(name: str) -> Credentials | None:
    return SECRET._replace(password="wrong")


def takes_basic(header: str) -> Act:
    """A registry that lets in whoever says ``header``, and asks everybody else for Basic."""

    async def act(line: Line) -> None:
        if line.seen.headers.get("authorization") == header:
            await line.answer(200, b"{}")
        else:
            await roles.refuses(401, "UNAUTHORIZED", 'Basic realm="x"')(line)

    return act


async def test_an_open_registry_asks_for_nothing() -> None:
    async with FaultUpstream() as up, client_of(up, credentials=secret) as registry:
        up.always("ping", roles.answers(200, b"{}", {"Date": "Wed, 21 Oct 2015 07:28:20 GMT"}))
        assert await registry.ping() == PingResult(200, (), "Wed, 21 Oct 2015 07:28:20 GMT", None)


async def test_a_token_is_really_fetched_with_the_credentials_and_without_a_scope() -> None:
    async with FaultUpstream() as up, client_of(up, credentials=secret) as registry:
        up.page("/v2/", b"{}")
        up.guard()
        ping = await registry.ping()
        assert (ping.status, ping.accepted, ping.challenges[0].scheme) == (200, True, "bearer")
        (asked,) = up.requests("token")
        assert asked.headers["authorization"].startswith("Basic ")


async def test_without_credentials_an_anonymous_token_opens_it_and_nothing_is_accepted() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.page("/v2/", b"{}")
        up.guard()
        ping = await registry.ping()
        assert (ping.status, ping.accepted) == (200, None)
        assert "authorization" not in up.requests("token")[0].headers


async def test_credentials_that_cannot_be_had_are_told_from_refused_ones() -> None:
    async def gone(name: str) -> Credentials:
        raise CredentialsFailed("up", "no such file")

    async with FaultUpstream() as up, client_of(up, credentials=gone) as registry:
        up.guard()
        ping = await registry.ping()
        assert (ping.accepted, ping.unread) == (False, True)
        assert up.requests("token") == []


async def test_a_password_that_the_token_server_refuses_is_seen_and_named() -> None:
    async with FaultUpstream() as up, client_of(up, credentials=wrong) as registry:
        up.guard()
        up.always("token", roles.answers(401))
        ping = await registry.ping()
        assert (ping.status, ping.accepted) == (401, False)
        assert "refused by the token server" in ping.why
        assert "wrong" not in ping.why


@pytest.mark.parametrize(("credentials", "status", "accepted"), [(secret, 200, True), (wrong, 401, False)])
async def test_basic_credentials_are_tried_at_the_registry(
    credentials: CredentialSource, status: int, accepted: bool
) -> None:
    async with FaultUpstream() as up, client_of(up, credentials=credentials) as registry:
        up.always("ping", takes_basic("Basic bWU6czNjcmV0"))
        ping = await registry.ping()
        assert (ping.status, ping.accepted, ping.challenges[0].scheme) == (status, accepted, "basic")


async def test_a_registry_that_is_away_is_an_outage() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("ping", roles.closes_unanswered)
        with pytest.raises(UpstreamUnreachable):
            await registry.ping()
