"""Who may have what."""

import pytest

from proxy.core.names import Digest, Repository
from proxy.storage.contract import Catalog, Grant, Held, Member, MembershipRecord
from tests.storage.kit import MANIFEST, NGINX, REDIS, add, blob, manifest

DIGEST = Digest.of(b"x")
YES = MembershipRecord(MANIFEST, 5.0)
IMPORT = MembershipRecord(MANIFEST, None, Grant.OPERATOR)


async def test_membership_is_known_whether_held_or_not(catalog: Catalog) -> None:
    memberships = catalog.memberships
    assert await memberships.allowed(NGINX, DIGEST) is None
    await memberships.allow(NGINX, DIGEST, YES)
    assert [await memberships.allowed(each, DIGEST) for each in (NGINX, REDIS)] == [YES, None]
    await memberships.disallow(NGINX, DIGEST)
    assert await memberships.allowed(NGINX, DIGEST) is None


@pytest.mark.parametrize(
    ("first", "second", "then"),
    [
        (YES, MembershipRecord("", 9.0), MembershipRecord(MANIFEST, 9.0)),
        (YES, MembershipRecord("application/other", 9.0), MembershipRecord("application/other", 9.0)),
        (YES, MembershipRecord(MANIFEST, 3.0), YES),
        (YES, MembershipRecord(MANIFEST, None), YES),
        (YES, IMPORT, YES._replace(grant=Grant.OPERATOR)),
        (IMPORT, YES, YES),
        (IMPORT, MembershipRecord(MANIFEST, None), IMPORT),
        (IMPORT, IMPORT, IMPORT),
    ],
)
async def test_a_later_word_adds_to_what_is_known_and_takes_nothing_away(
    catalog: Catalog, first: MembershipRecord, second: MembershipRecord, then: MembershipRecord
) -> None:
    await catalog.memberships.allow(NGINX, DIGEST, first)
    await catalog.memberships.allow(NGINX, DIGEST, second)
    assert await catalog.memberships.allowed(NGINX, DIGEST) == then


async def test_repositories_with_a_held_manifest_in_pages(catalog: Catalog) -> None:
    quay = Repository("quay.io", "a/a")
    for repository in (quay, REDIS, NGINX):
        await add(catalog, manifest(str(repository)), repository)
    await add(catalog, blob("only a layer"), Repository("docker.io", "library/layers"))
    await catalog.memberships.allow(Repository("docker.io", "library/promised"), Digest.of(b"promised"), YES)
    repositories = catalog.memberships.repositories
    assert await repositories(None, 2) == [NGINX, REDIS]
    assert await repositories((REDIS.upstream, REDIS.name), 2) == [quay]
    await catalog.contents.forget([manifest(str(quay)).digest])
    assert await repositories(None, 9) == [NGINX, REDIS]


async def test_indexes_are_found_by_a_child_that_is_not_held(catalog: Catalog) -> None:
    indexes = [manifest(name)._replace(used_at=used_at) for name, used_at in (("older", 2.0), ("newer", 3.0))]
    for index in indexes:
        await catalog.contents.add(index, [DIGEST], Member(NGINX, YES))
    await catalog.contents.add(manifest("elsewhere"), [DIGEST], Member(REDIS, YES))
    await catalog.contents.add(manifest("of others"), [Digest.of(b"y")], Member(NGINX, YES))
    assert await catalog.memberships.indexes(NGINX, DIGEST) == [Held(each, YES) for each in reversed(indexes)]
    await catalog.contents.forget([indexes[1].digest])
    assert await catalog.memberships.indexes(NGINX, DIGEST) == [Held(indexes[0], YES)]


async def test_referrers_are_those_that_are_held_and_of_the_repository(catalog: Catalog) -> None:
    subject = manifest("image")
    about = sorted((manifest(name, subject=subject.digest) for name in "ab"), key=lambda each: each.digest)
    for content in (subject, *about):
        await add(catalog, content, NGINX)
    await add(catalog, manifest("elsewhere", subject=subject.digest), REDIS)
    expected = [Held(each, MembershipRecord(MANIFEST, 1.0)) for each in about]
    assert await catalog.memberships.referrers(NGINX, subject.digest) == expected
    await catalog.contents.forget([about[0].digest])
    assert await catalog.memberships.referrers(NGINX, subject.digest) == expected[1:]
    assert await catalog.memberships.referrers(NGINX, DIGEST) == []
