"""Redirects, retries, limits and outages, and which headers reach whom."""

import asyncio
import re

import pytest

from proxy import __version__
from proxy.core.errors import (
    BlobUnknown,
    ManifestUnknown,
    NameUnknown,
    Outage,
    RateLimited,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.core.names import Digest, Tag
from tests.cast import FaultUpstream, Line, ManualClock, roles
from tests.upstream.rig import HASTY, NAME, client_of, pulled, secret

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
TAG = Tag("1")
BYTES = bytes(range(256)) * 100


async def test_a_blob_in_storage_is_fetched_without_a_word_of_ours_but_the_range() -> None:
    async with FaultUpstream() as up, FaultUpstream() as storage, client_of(up, credentials=secret) as registry:
        digest = up.blob(NAME, BYTES)
        up.guard()
        storage.page("/b", BYTES)
        up.manifest(NAME, "1", RAW)
        await registry.manifest(NAME, TAG)
        up.plays("blob", roles.redirects(f"{storage.url}/b?X-Amz-Signature=sig"))
        assert await pulled(registry, digest, 10) == BYTES[10:]
        (hop,) = storage.ledger
        assert hop.headers == {
            "host": f"127.0.0.1:{storage.port}",
            "user-agent": f"entrepot/{__version__}",
            "accept-encoding": "identity",
            "range": "bytes=10-",
        }
        assert up.requests("blob")[0].headers["authorization"].startswith("Bearer ")


async def test_a_manifest_may_be_redirected_too() -> None:
    async with FaultUpstream() as up, FaultUpstream() as storage, client_of(up, credentials=secret) as registry:
        up.guard()
        up.manifest(NAME, "1", RAW)
        await registry.manifest(NAME, TAG)
        storage.page("/m", RAW, {"Content-Type": "application/json"})
        up.plays("manifest", roles.redirects(f"{storage.url}/m", 302))
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert not {"authorization", "cookie"} & set(storage.ledger[0].headers)


async def test_within_the_registry_a_redirect_keeps_the_authorization() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, BYTES)
        up.guard()
        up.always(f"/v2/{NAME}/blobs/{digest}", roles.redirects("/v2/elsewhere/blobs/x"))
        up.page("/v2/elsewhere/blobs/x", BYTES)
        assert await pulled(registry, digest) == BYTES
        assert up.ledger[-1].headers["authorization"].startswith("Bearer ")


async def test_an_expired_url_of_storage_sends_us_back_for_a_fresh_one() -> None:
    async with FaultUpstream() as up, FaultUpstream() as storage, client_of(up) as registry:
        digest = up.blob(NAME, BYTES)
        storage.page("/fresh", BYTES)
        up.plays("blob", roles.redirects(f"{storage.url}/stale?sig=a"), roles.redirects(f"{storage.url}/fresh?sig=b"))
        storage.always("/stale", roles.answers(403, b"<Error><Code>AccessDenied</Code></Error>"))
        assert await pulled(registry, digest, 5) == BYTES[5:]
        assert [seen.target for seen in storage.ledger] == ["/stale?sig=a", "/fresh?sig=b"]


async def test_storage_that_refuses_twice_is_a_broken_promise_and_its_url_is_not_shown() -> None:
    async with FaultUpstream() as up, FaultUpstream() as storage, client_of(up) as registry:
        digest = up.blob(NAME, BYTES)
        up.always("blob", roles.redirects(f"{storage.url}/stale?sig=s3cret"))
        storage.always("/stale", roles.answers(403))
        with pytest.raises(UpstreamBroken) as fault:
            await registry.blob(NAME, digest)
        assert len(storage.ledger) == 2
        assert "s3cret" not in str(fault.value)


async def test_five_redirects_are_followed_and_a_loop_is_not() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, BYTES)
        blob = f"/v2/{NAME}/blobs/{digest}"
        up.plays(blob, roles.redirects("/hop/1"))
        for hop in range(1, 5):
            up.plays(f"/hop/{hop}", roles.redirects(f"{hop + 1}"))
        up.page("/hop/5", BYTES)
        assert await pulled(registry, digest) == BYTES
        up.always(blob, roles.redirects(blob))
        before = len(up.ledger)
        with pytest.raises(UpstreamBroken, match="more than 5"):
            await registry.blob(NAME, digest)
        assert len(up.ledger) - before == 6


@pytest.mark.parametrize(
    "location",
    ["", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/x", "http://127.0.0.1:0/", "http://[::1/", "//\\evil/"],
)
async def test_a_location_that_cannot_be_followed_is_a_broken_upstream(location: str) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, BYTES)
        up.plays("blob", roles.redirects(location))
        with pytest.raises(UpstreamBroken):
            await registry.blob(NAME, digest)
        assert len(up.ledger) == 1


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "0.0.0.0",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "2852039166",
        "0xa9fea9fe",
        "169.254.43518",
        "0251.0376.0251.0376",
    ],
)
async def test_no_redirect_leads_to_instance_metadata(host: str) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, BYTES)
        up.always("blob", roles.redirects(f"http://{host}/latest/meta-data/"))
        up.always("manifest", roles.redirects(f"http://{host}/latest/meta-data/"))
        for ask in (registry.blob(NAME, digest), registry.manifest(NAME, TAG)):
            with pytest.raises(UpstreamBroken):
                await ask
        assert len(up.ledger) == 2  # asking again would lead nowhere else


async def test_a_private_address_is_out_of_reach_for_a_registry_on_loopback() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("blob", roles.redirects("http://10.255.255.1/x"))
        with pytest.raises(UpstreamBroken, match="not a public address, and neither 'redirects' nor 'realms' list its"):
            await registry.blob(NAME, up.blob(NAME, BYTES))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_hiccup_is_retried_with_jitter(status: int) -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock) as registry:
        up.manifest(NAME, "1", RAW)
        up.plays("manifest", roles.fails(status), roles.fails(status))
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert clock.slept == pytest.approx([0.15, 0.3])
        assert registry.stats.requests == {("manifest", "5xx"): 2, ("manifest", "2xx"): 1}


async def test_a_hiccup_may_say_how_long_it_takes() -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock) as registry:
        up.manifest(NAME, "1", RAW)
        up.plays("manifest", roles.answers(503, b"", {"Retry-After": "2"}))
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert clock.slept == [2.0]
        up.plays("manifest", roles.answers(503, b"", {"Retry-After": "30"}))
        with pytest.raises(UpstreamFailed):
            await registry.manifest(NAME, TAG)
        assert clock.slept == [2.0]


@pytest.mark.parametrize("status", [400, 403, 404, 410, 503])
async def test_storage_that_refuses_a_url_once_is_asked_by_a_fresh_one(status: int) -> None:
    async with FaultUpstream() as up, FaultUpstream() as storage, client_of(up) as registry:
        digest = up.blob(NAME, BYTES)
        storage.page("/b", BYTES)
        storage.plays("/b", roles.answers(status, b"<Error/>", {"Content-Type": "application/xml"}))
        up.always("blob", roles.redirects(f"{storage.url}/b?sig=x"))
        assert await pulled(registry, digest, 5) == BYTES[5:]
        assert [seen.headers.get("range") for seen in storage.ledger] == ["bytes=5-", "bytes=5-"]
        assert len(up.requests("blob")) == 2


async def test_a_broken_blob_says_nothing_about_an_image_that_is_whole() -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock) as registry:
        up.manifest(NAME, "1", RAW)
        up.always("blob", roles.fails(500))
        for _ in range(4):
            with pytest.raises(UpstreamFailed):
                await registry.blob(NAME, Digest.of(BYTES))
        assert (await registry.manifest(NAME, TAG)).raw == RAW


async def test_five_failures_are_an_outage() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("manifest", roles.fails(500))
        with pytest.raises(UpstreamFailed, match="500"):
            await registry.manifest(NAME, TAG)
        assert len(up.ledger) == 5


async def test_a_blob_whose_connection_is_reset_before_an_answer_is_retried() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, BYTES)
        up.plays("blob", roles.closes_unanswered)
        assert await pulled(registry, digest) == BYTES
        assert up.unplayed == 0


async def test_retries_stop_where_the_budget_ends() -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock) as registry:
        up.always("manifest", roles.fails(502))
        for _ in range(100):
            with pytest.raises(UpstreamFailed):
                await registry.manifest(NAME, TAG)
            clock.advance(10)
        assert len(up.ledger) <= 100 + 100 + 10


async def test_a_thing_that_fails_again_and_again_is_not_asked_for_until_a_probe_succeeds() -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock) as registry:
        up.manifest(NAME, "1", RAW)
        up.always("manifest", roles.answers(501))
        for _ in range(9):
            with pytest.raises(UpstreamFailed, match="501"):
                await registry.manifest(NAME, TAG)
            clock.advance(0.5)
        assert 2 < len(up.ledger) < 9
        clock.advance(5)
        up.always("manifest", roles.steady)
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert (await registry.manifest(NAME, TAG)).raw == RAW


async def test_one_callers_bad_path_is_nobody_elses_however_often_it_fails() -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock, HASTY) as registry:
        up.manifest(NAME, "1", RAW)
        for bad in (roles.fails(500), roles.answers(501), roles.closes_unanswered, roles.silent):
            for number in range(3):
                up.plays("manifest", *[bad] * 5)
                with pytest.raises(Outage):
                    await registry.manifest("team/secret", Tag(f"{number}"))
                up.forget_plays()
                clock.advance(1)
            assert (await registry.manifest(NAME, TAG)).raw == RAW


async def test_three_repositories_without_an_answer_are_a_host_that_gives_none() -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock, HASTY) as registry:
        up.always("manifest", roles.silent)
        for team in "abc":
            with pytest.raises(UpstreamTimeout):
                await registry.manifest(f"team-{team}/app", TAG)
            clock.advance(1)
        with pytest.raises(UpstreamTimeout) as told:
            await registry.manifest(NAME, TAG)
        assert len(up.ledger) == 3
        assert "team" not in str(told.value)


async def test_a_storage_host_that_limits_us_closes_off_nothing_but_itself() -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, FaultUpstream() as storage, client_of(up, clock) as registry:
        up.manifest(NAME, "1", RAW)
        digest = up.blob(NAME, BYTES)
        up.always("blob", roles.redirects(f"{storage.url}/v2/{NAME}/blobs/{digest}"))
        storage.blob(NAME, BYTES)
        storage.plays("blob", roles.limits("30"))
        for _ in range(3):
            with pytest.raises(RateLimited):
                await registry.blob(NAME, digest)
        assert len(storage.ledger) == 1
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        clock.advance(30)
        assert await pulled(registry, digest) == BYTES


@pytest.mark.parametrize(
    ("header", "wait"),
    [("7", 7.0), (None, 1.0), ("999999999", 60.0), ("Thu, 01 Jan 1970 00:17:00 GMT", 20.0), ("nonsense", 1.0)],
)
async def test_429_is_honoured_by_everybody_and_capped(header: str | None, wait: float) -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock) as registry:
        up.manifest(NAME, "1", RAW)
        digest = up.blob(NAME, BYTES)
        up.plays("manifest", roles.limits(header))
        with pytest.raises(RateLimited) as limit:
            await registry.manifest(NAME, TAG)
        assert limit.value.retry_after == wait
        with pytest.raises(RateLimited):
            await registry.blob(NAME, digest)
        assert len(up.ledger) == 1
        clock.advance(wait)
        assert (await registry.manifest(NAME, TAG)).raw == RAW


async def test_a_closed_port_is_unreachable_for_both_clients() -> None:
    async with FaultUpstream() as up:
        pass
    async with client_of(up) as registry:
        with pytest.raises(UpstreamUnreachable, match=f"127.0.0.1:{up.port}"):
            await registry.manifest(NAME, TAG)
        with pytest.raises(UpstreamUnreachable, match=f"127.0.0.1:{up.port}"):
            await registry.blob(NAME, Digest.of(b""))


async def test_a_name_that_does_not_exist_is_unreachable() -> None:
    async with FaultUpstream() as up, client_of(up, url="http://no-such-host.invalid") as registry:
        with pytest.raises(UpstreamUnreachable):
            await registry.manifest(NAME, TAG)
        with pytest.raises(UpstreamUnreachable):
            await registry.blob(NAME, Digest.of(b""))


async def test_an_upstream_that_never_answers_is_given_up() -> None:
    async with FaultUpstream() as up, client_of(up, limits=HASTY) as registry:
        digest = up.blob(NAME, BYTES)
        up.always("manifest", roles.silent)
        up.always("blob", roles.silent)
        with pytest.raises(UpstreamTimeout):
            await registry.manifest(NAME, TAG)
        with pytest.raises(UpstreamTimeout):
            await registry.blob(NAME, digest)
        assert len(up.ledger) == 2


async def test_gibberish_is_a_broken_upstream() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, BYTES)
        up.always("manifest", roles.gibberish)
        up.always("blob", roles.gibberish)
        for ask in (registry.manifest(NAME, TAG), registry.blob(NAME, digest)):
            with pytest.raises(UpstreamBroken, match="HTTP"):
                await ask


async def test_what_is_not_there_is_absent_by_its_kind() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        with pytest.raises(ManifestUnknown):
            await registry.manifest(NAME, TAG)
        with pytest.raises(BlobUnknown):
            await registry.blob(NAME, Digest.of(b"x"))
        with pytest.raises(NameUnknown):
            await registry.tags(NAME, "")
        up.plays("manifest", roles.refuses(404, "NAME_UNKNOWN"))
        with pytest.raises(NameUnknown):
            await registry.manifest(NAME, TAG)


async def test_a_caller_who_leaves_while_a_blob_is_opened_leaves_no_connection_behind() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, BYTES)
        asked = asyncio.Event()

        async def act(line: Line) -> None:
            asked.set()
            await roles.silent(line)

        up.plays("blob", act)
        opening = asyncio.create_task(registry.blob(NAME, digest))
        await asked.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert await pulled(registry, digest) == BYTES


async def test_every_request_is_honest_and_plain() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.manifest(NAME, "1", RAW)
        await registry.manifest(NAME, TAG)
        await registry.check_blob(NAME, up.blob(NAME, BYTES), len(BYTES))
        for seen in up.ledger:
            assert seen.headers["accept-encoding"] == "identity"
            assert re.fullmatch(r"entrepot/\S+", seen.headers["user-agent"])
            assert "cookie" not in seen.headers
