import asyncio
import time
from typing import Any

from proxy.core.errors import CredentialsFailed
from proxy.core.names import Tag
from proxy.core.tables import Tables
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.upstream.ecr_faults import AwsFault
from proxy.upstream.ecr_repositories import AT_ONCE, KEPT, EcrRepositories

ACCOUNT = "123456789012"
V1, LATEST = Tag("v1"), Tag("latest")


class Describer:
    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.denied = False
        self.asked: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, account: str, name: str) -> dict[str, Any]:
        self.asked.append((account, name))
        await self.gate.wait()
        if self.denied:
            raise AwsFault(CredentialsFailed, "denied")
        return self.answer


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_ecr_is_asked_once_an_hour_and_nobody_waits_for_it(jobs: Jobs) -> None:
    ecr, now = Describer({"imageTagMutability": "IMMUTABLE"}), [0.0]
    book = EcrRepositories(ecr, jobs, Tables(lambda: now[0]))
    assert book.immutable(ACCOUNT, "team/app", V1) is None
    assert book.immutable(ACCOUNT, "team/app", V1) is None
    await settle()
    assert book.immutable(ACCOUNT, "team/app", V1) is True
    assert ecr.asked == [(ACCOUNT, "team/app")]
    now[0] = KEPT + 1
    assert book.immutable(ACCOUNT, "team/app", V1) is None
    await settle()
    assert len(ecr.asked) == 2


async def test_exclusion_filters_count(jobs: Jobs) -> None:
    filters = [{"filterType": "WILDCARD", "filter": "lat*"}, {"filterType": "OTHER", "filter": "v1"}]
    ecr = Describer({"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION", "imageTagMutabilityExclusionFilters": filters})
    book = EcrRepositories(ecr, jobs, Tables(time.monotonic))
    book.immutable(ACCOUNT, "team/app", V1)
    await settle()
    assert book.immutable(ACCOUNT, "team/app", V1) is True
    assert book.immutable(ACCOUNT, "team/app", LATEST) is False


async def test_without_permission_it_is_unknown_and_not_asked_again(jobs: Jobs) -> None:
    ecr = Describer({})
    ecr.denied = True
    book = EcrRepositories(ecr, jobs, Tables(time.monotonic))
    for _ in range(3):
        assert book.immutable(ACCOUNT, "team/app", V1) is None
        await settle()
    assert len(ecr.asked) == 1


async def test_a_rush_of_repositories_is_bounded_and_ends_with_the_group_that_owns_it() -> None:
    ecr = Describer({})
    ecr.gate.clear()
    before = asyncio.all_tasks()
    async with task_group() as tasks:
        book = EcrRepositories(ecr, Jobs(tasks), Tables(time.monotonic))
        for number in range(50):
            book.immutable(ACCOUNT, f"team/app-{number}", V1)
        await settle()
        assert len(ecr.asked) == AT_ONCE
    assert asyncio.all_tasks() == before
