"""Tokens that end, change or are refused while clients pull: one call to AWS, and no client sees it."""

import asyncio

import pytest

from proxy.core.names import Digest
from tests.cast import Line
from tests.cast.aws import AwsDoor
from tests.scenarios.client import Reply
from tests.scenarios.ecr.stage import EXPIRED_TOKEN, HOST, App, Clock, Ecr, denies, image

CROWD = 200


async def crowd(app: App, paths: list[str]) -> list[Reply]:
    return await asyncio.gather(*(app.get(path) for path in paths))


def calls(aws: AwsDoor) -> int:
    return aws.calls["GetAuthorizationToken"]


async def test_two_hundred_cold_pulls_with_a_password_changed_under_way_make_one_call(
    app: App, ecr: Ecr, aws: AwsDoor, ahead: Clock
) -> None:
    image(ecr.up, "team/app", "v1", b"first")
    assert (await app.manifest("team/app:v1")).status == 200
    assert calls(aws) == 1
    images = [image(ecr.up, "team/app", f"n{number}", b"%d" % number) for number in range(CROWD // 2)]
    paths = [f"/v2/{HOST}/team/app/manifests/{manifest}" for manifest, _ in images]
    paths += [f"/v2/{HOST}/team/app/blobs/{layer}" for _, layer in images]
    ahead.ahead = 30  # the token is new
    ecr.change_password(aws, "another")
    replies = await crowd(app, paths)
    assert [reply.status for reply in replies] == [200] * CROWD
    assert calls(aws) == 2


async def test_a_client_at_the_very_minute_of_the_first_token_is_served_with_the_second(
    app: App, ecr: Ecr, aws: AwsDoor
) -> None:
    image(ecr.up, "team/app", "v1", b"first")
    image(ecr.up, "team/app", "v2", b"second")
    assert (await app.manifest("team/app:v1")).status == 200
    ecr.change_password(aws, "another")
    assert (await app.manifest("team/app:v2")).status == 200
    assert calls(aws) == 2


async def test_a_token_that_the_registry_never_takes_costs_one_call_a_minute(
    app: App, ecr: Ecr, aws: AwsDoor, ahead: Clock
) -> None:
    image(ecr.up, "team/app", "v1", b"first")
    ecr.accepted.clear()
    for minute in range(3):
        ahead.ahead = 61.0 * minute
        for _ in range(5):
            reply = await app.manifest("team/app:v1")
            assert reply.status == 403
            assert b"DENIED" in reply.body
        assert calls(aws) == 2 + minute


async def test_two_hundred_clients_at_expiry_make_one_call(app: App, ecr: Ecr, aws: AwsDoor, ahead: Clock) -> None:
    image(ecr.up, "team/app", "v1", b"first")
    assert (await app.manifest("team/app:v1")).status == 200
    ahead.ahead = 13 * 3600.0
    ecr.change_password(aws, "of the other half of the day")
    aws.gate.clear()
    layers = [image(ecr.up, "team/app", f"n{number}", b"%d" % number)[0] for number in range(CROWD)]
    pulls = asyncio.create_task(crowd(app, [f"/v2/{HOST}/team/app/manifests/{digest}" for digest in layers]))
    while calls(aws) == 1:
        await asyncio.sleep(0.01)
    aws.gate.set()
    assert [reply.status for reply in await pulls] == [200] * CROWD
    assert calls(aws) == 2


async def test_ecrs_answer_to_an_expired_token_is_not_the_clients(
    app: App, ecr: Ecr, aws: AwsDoor, ahead: Clock
) -> None:
    ecr.refuse_by(EXPIRED_TOKEN)
    image(ecr.up, "team/app", "v1", b"first")
    manifest, layer = image(ecr.up, "team/app", "v2", b"second")
    assert (await app.manifest("team/app:v1")).status == 200
    ahead.ahead = 61
    ecr.change_password(aws, "another")
    paths = [f"/v2/{HOST}/team/app/manifests/{manifest}", f"/v2/{HOST}/team/app/blobs/{layer}"] * 20
    assert {reply.status for reply in await crowd(app, paths)} == {200}
    assert calls(aws) == 2


async def test_a_missing_right_is_in_the_log_in_the_registrys_words_and_makes_no_loop(
    app: App, ecr: Ecr, aws: AwsDoor, ahead: Clock
) -> None:
    reason = "User: arn:aws:iam::123456789012:user/me is not authorized to perform: ecr:BatchGetImage"
    image(ecr.up, "team/app", "v1", b"first")
    ecr.up.always("manifest", denies(reason))
    for minute in range(3):
        ahead.ahead = 61.0 * minute
        aws.password = f"of minute {minute}"
        for _ in range(5):
            reply = await app.manifest("team/app:v1")
            assert reply.status == 403
            assert b"DENIED" in reply.body
            assert b"ecr:BatchGetImage" not in reply.body
        assert calls(aws) == 1 + minute
    assert len(ecr.up.requests("manifest")) == 5 + 2 * 6  # in each later minute one is repeated with a new token
    await app.everything_said()
    assert app.log.read_text().count(reason) == 15
    assert reason in (await app.status())["upstreams"][HOST]["last_fault"]


async def test_a_reason_that_quotes_the_credential_is_not_passed_on(app: App, ecr: Ecr) -> None:
    image(ecr.up, "team/app", "v1", b"first")

    async def echoes(line: Line) -> None:
        await denies(f"whose may {line.seen.headers['authorization']} be")(line)

    ecr.up.always("manifest", echoes)
    reply = await app.manifest("team/app:v1")
    assert reply.status == 403
    assert "whose may" not in reply.body.decode() + await app.everything_said()


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        ((400, "AccessDeniedException"), "allow the action in its IAM policy"),
        ((400, "ThrottlingException"), "AWS throttles GetAuthorizationToken"),
        ((500, "ServerException"), "ServerException"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_while_aws_says_no_what_is_cached_is_served_and_the_log_says_why(
    app: App, ecr: Ecr, aws: AwsDoor, ahead: Clock, failure: tuple[int, str], says: str
) -> None:
    manifest, layer = image(ecr.up, "team/app", "v1", b"first")
    held = [f"/v2/{HOST}/team/app/manifests/{manifest}", f"/v2/{HOST}/team/app/blobs/{layer}"]
    held += [f"/v2/{HOST}/team/app/manifests/v1"]
    assert {reply.status for reply in await crowd(app, held)} == {200}
    image(ecr.up, "team/app", "v2", b"second")
    ahead.ahead = 13 * 3600.0
    aws.failure = failure
    assert {reply.status for reply in await crowd(app, held[:2])} == {200}
    cold = await app.manifest("team/app:v2")
    assert cold.status in (403, 502)
    assert says not in cold.body.decode()
    assert says in await app.everything_said()
    spoken_for = calls(aws)
    for _ in range(5):
        assert (await app.manifest("team/app:v2")).status == cold.status
    assert calls(aws) <= spoken_for + 6  # the pauses between them double
    aws.failure = None
    ahead.ahead += 61
    assert (await app.manifest("team/app:v2")).status == 200


async def test_an_aws_that_is_gone_is_named_with_what_to_do_and_found_again_when_it_is_back(
    app: App, ecr: Ecr, aws: AwsDoor, ahead: Clock
) -> None:
    manifest, _ = image(ecr.up, "team/app", "v1", b"first")
    image(ecr.up, "team/app", "v2", b"second")
    assert (await app.manifest("team/app:v1")).status == 200
    ahead.ahead = 13 * 3600.0
    await aws.go_away()
    stale = await app.manifest("team/app:v1")
    assert stale.headers["cache-status"] == "entrepot; hit; detail=stale"
    cold = await app.manifest("team/app:v2")
    assert cold.status == 502
    assert "ecr.api" not in cold.body.decode()
    said = await app.everything_said()
    assert "AWS cannot be reached" in said
    assert "ecr.api" in said
    assert (await app.manifest(f"team/app@{manifest}")).status == 200
    await aws.come_back()
    ahead.ahead += 61
    assert (await app.manifest("team/app:v2")).status == 200
    assert Digest.parse(stale.headers["docker-content-digest"]) == manifest
