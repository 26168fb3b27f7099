"""A bug in each of the jobs of upstreams: whoever pulls goes on with what there is, and the job comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from proxy.core.names import Tag
from proxy.core.tables import Tables
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.upstream.ecr_aws import Aws, Issued
from proxy.upstream.ecr_identity import AwsIdentity
from proxy.upstream.ecr_repositories import EcrRepositories
from proxy.upstream.ecr_tokens import EcrTokenBook
from proxy.upstream.network import Network
from proxy.upstream.settings import RegistrySettings, Timing
from proxy.upstream.tokens import Token, TokenBook, TokenKey
from tests.cast import ManualClock
from tests.cast.planted import FAILURES, Planted

HOUR = 3600.0


@asynccontextmanager
async def jobs_with(bug: Planted) -> AsyncIterator[Jobs]:
    async with task_group() as group:
        yield bug.made_for(group)


async def until_back(bug: Planted, ask: Callable[[], object]) -> None:
    """Asks on, until the job has done its work again."""
    async with asyncio.timeout(20):
        while not bug.came_back.is_set():
            ask()
            await asyncio.sleep(0.01)


def timing(clock: ManualClock) -> Timing:
    async def sleep(_: float) -> None:
        await asyncio.sleep(0.01)

    return Timing(now=clock, wall=clock, sleep=sleep, jitter=lambda: 0.5)


async def test_a_token_serves_on_while_its_renewal_has_a_bug() -> None:
    clock, bug, given = ManualClock(), Planted("token renewal"), iter(range(100))

    async def fetch(_: TokenKey) -> Token:
        return Token(f"token {next(given)}", HOUR)

    async with jobs_with(bug) as jobs:
        book = TokenBook("up", fetch, timing(clock), jobs, Tables(clock))
        key = TokenKey("https://auth.test/token", None, "pull", None)
        assert await book.token(key) == "token 0"
        clock.advance(HOUR / 2 + 1)
        for _ in range(FAILURES):
            assert await book.token(key) == "token 0"
            await asyncio.sleep(0.01)
        await until_back(bug, lambda: asyncio.ensure_future(book.token(key)))
        assert jobs.states["token renewal"].failures == bug.fired == FAILURES
        assert await book.token(key) == "token 1"


async def test_the_upkeep_of_aws_tokens_is_begun_again() -> None:
    clock, bug, calls = ManualClock(), Planted("aws tokens"), []

    class Office:
        async def ecr_token(self) -> Issued:
            calls.append(clock())
            return Issued(f"token {len(calls)}", 12 * HOUR)

    async with jobs_with(bug) as jobs:
        book = EcrTokenBook(jobs, timing(clock), lambda _: cast(Aws, Office()))
        keeper = book.private(AwsIdentity("us-east-1"))
        assert await keeper.token("ecr") == "token 1", "nobody waits for the upkeep"
        await until_back(bug, lambda: None)
        assert jobs.states["aws tokens"].failures == bug.fired == FAILURES
        clock.advance(7 * HOUR)
        async with asyncio.timeout(20):
            while await keeper.token("ecr") == "token 1":
                await asyncio.sleep(0.01)


async def test_a_tag_is_revalidated_until_its_mutability_is_known() -> None:
    clock, bug = ManualClock(), Planted("tag mutability")

    async def describe(account: str, name: str) -> dict[str, Any]:
        return {"imageTagMutability": "IMMUTABLE"}

    async with jobs_with(bug) as jobs:
        repositories = EcrRepositories(describe, jobs, Tables(clock))

        def ask() -> bool | None:
            return repositories.immutable("123456789012", "team/app", Tag("v1"))

        assert ask() is None
        await until_back(bug, ask)
        await asyncio.sleep(0.01)
        assert jobs.states["tag mutability"].failures == bug.fired == FAILURES
        assert ask() is True


async def test_a_forgotten_registry_that_cannot_be_closed_ends_nothing_else() -> None:
    bug = Planted("registry close")
    async with jobs_with(bug) as jobs:
        registries = [Network(RegistrySettings("up", "http://127.0.0.1:9"), jobs) for _ in range(FAILURES + 1)]
        for network in registries:
            network.retire()
        async with asyncio.timeout(20):
            await bug.came_back.wait()
        assert jobs.states["registry close"].failures == bug.fired == FAILURES
