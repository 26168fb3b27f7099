"""The token book, with a token server of one function and a clock that stands still."""

import asyncio

import pytest

from proxy.core.errors import RateLimited, UpstreamFailed, UpstreamFault
from proxy.core.tables import Tables
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.upstream.settings import Timing
from proxy.upstream.tokens import Token, TokenBook, TokenKey
from tests.cast import ManualClock
from tests.upstream.rig import SECRET

KEY = TokenKey("https://auth.test/token", "reg", "repository:a:pull", None)


class Server:
    """Gives t1, t2, ...; ``fault`` is raised instead while it is set, and ``gate`` is waited for."""

    def __init__(self, life: float = 300.0) -> None:
        self.life = life
        self.asked: list[TokenKey] = []
        self.fault: UpstreamFault | None = None
        self.bug: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, key: TokenKey) -> Token:
        self.asked.append(key)
        number = len(self.asked)
        await self.gate.wait()
        if self.bug is not None:
            raise self.bug
        if self.fault is not None:
            raise self.fault
        return Token(f"t{number}", self.life)


def book_of(server: Server, clock: ManualClock, jobs: Jobs) -> TokenBook:
    return TokenBook("up", server.fetch, Timing(now=clock), jobs, Tables(clock))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_who_wait_share_one_request(jobs: Jobs) -> None:
    server, clock = Server(), ManualClock()
    server.gate.clear()
    book = book_of(server, clock, jobs)
    waiters = [asyncio.create_task(book.token(KEY)) for _ in range(20)]
    await settle()
    server.gate.set()
    assert set(await asyncio.gather(*waiters)) == {"t1"}
    assert len(server.asked) == 1


async def test_a_waiter_who_leaves_takes_the_token_from_nobody(jobs: Jobs) -> None:
    server = Server()
    server.gate.clear()
    book = book_of(server, ManualClock(), jobs)
    first, second = (asyncio.create_task(book.token(KEY)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    server.gate.set()
    assert await second == "t1"
    assert first.cancelled()
    assert len(server.asked) == 1


async def test_at_half_life_the_old_token_serves_while_the_new_one_is_fetched(jobs: Jobs) -> None:
    server, clock = Server(life=300), ManualClock()
    book = book_of(server, clock, jobs)
    assert await book.token(KEY) == "t1"
    clock.advance(149)
    assert await book.token(KEY) == "t1"
    await settle()
    assert len(server.asked) == 1
    clock.advance(1)
    server.gate.clear()
    assert await book.token(KEY) == "t1"
    assert await book.token(KEY) == "t1"
    await settle()
    assert len(server.asked) == 2
    server.gate.set()
    await settle()
    assert await book.token(KEY) == "t2"


@pytest.mark.parametrize(("life", "served"), [(300, 290), (60, 54), (3600, 3590)])
async def test_a_token_that_is_about_to_end_is_not_served(jobs: Jobs, life: float, served: float) -> None:
    server, clock = Server(life), ManualClock()
    book = book_of(server, clock, jobs)
    assert await book.token(KEY) == "t1"
    server.fault = UpstreamFailed("up", "down")
    clock.advance(served - 0.1)
    assert await book.token(KEY) == "t1"
    await settle()
    clock.advance(0.2)
    with pytest.raises(UpstreamFailed):
        await book.token(KEY)


async def test_a_renewal_that_fails_leaves_the_old_token_in_service_and_is_not_repeated_at_once(jobs: Jobs) -> None:
    server, clock = Server(life=300), ManualClock()
    book = book_of(server, clock, jobs)
    await book.token(KEY)
    server.fault = UpstreamFailed("up", "down")
    clock.advance(150)
    for _ in range(10):
        assert await book.token(KEY) == "t1"
        await settle()
    assert len(server.asked) == 2
    clock.advance(1)
    server.fault = None
    assert await book.token(KEY) == "t1"
    await settle()
    assert await book.token(KEY) == "t3"


async def test_failures_are_remembered_for_longer_and_longer_up_to_a_minute(jobs: Jobs) -> None:
    server, clock = Server(), ManualClock()
    server.fault = UpstreamFailed("up", "down")
    book = book_of(server, clock, jobs)
    pauses = []
    for _ in range(12):
        began, asked = clock.now, len(server.asked)
        while len(server.asked) == asked:
            with pytest.raises(UpstreamFailed):
                await book.token(KEY)
            clock.advance(0.5)
        pauses.append(clock.now - 0.5 - began)
    assert pauses == [0, 0, 0, 0.5, 1.5, 3.0, 6.0, 12.5, 25.5, 51.0, 59.5, 59.5]


async def test_a_limit_of_the_token_server_is_kept(jobs: Jobs) -> None:
    server, clock = Server(), ManualClock()
    server.fault = RateLimited("up", "slow down", 30.0)
    book = book_of(server, clock, jobs)
    for _ in range(3):
        with pytest.raises(RateLimited):
            await book.token(KEY)
    assert len(server.asked) == 1
    clock.advance(30)
    server.fault = None
    assert await book.token(KEY) == "t2"


async def test_a_refused_token_is_dropped_once_however_many_were_refused(jobs: Jobs) -> None:
    server = Server()
    book = book_of(server, ManualClock(), jobs)
    first = await book.token(KEY)
    book.drop(KEY, first)
    second = await book.token(KEY)
    book.drop(KEY, first)
    assert await book.token(KEY) == second == "t2"
    assert len(server.asked) == 2


async def test_tokens_are_kept_apart_by_everything_they_depend_on(jobs: Jobs) -> None:
    server = Server()
    book = book_of(server, ManualClock(), jobs)
    keys = [
        KEY,
        KEY._replace(realm="https://other.test/token"),
        KEY._replace(service=None),
        KEY._replace(scope="repository:b:pull"),
        KEY._replace(credentials=SECRET),
        KEY._replace(credentials=SECRET._replace(password="other")),
    ]
    assert len({await book.token(key) for key in keys}) == len(keys)
    assert server.asked == keys


async def test_what_is_in_the_air_ends_with_the_group_that_owns_it() -> None:
    server = Server()
    server.gate.clear()
    async with task_group() as tasks:
        book = book_of(server, ManualClock(), Jobs(tasks))
        waiter = asyncio.create_task(book.token(KEY))
        await settle()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_a_bug_in_a_renewal_is_told_and_leaves_the_old_token_in_service(jobs: Jobs) -> None:
    server, clock = Server(life=300), ManualClock()
    book = book_of(server, clock, jobs)
    await book.token(KEY)
    clock.advance(150)
    server.bug = ZeroDivisionError("a bug")
    assert await book.token(KEY) == "t1"
    await settle()
    assert jobs.states["token renewal"].failures == 1
    server.bug = None
    assert await book.token(KEY) == "t1"
    await settle()
    assert await book.token(KEY) == "t3"


async def test_a_fault_that_is_told_again_and_again_keeps_no_traceback(jobs: Jobs) -> None:
    server = Server()
    server.fault = UpstreamFailed("up", "down")
    book = book_of(server, ManualClock(), jobs)
    depths = []
    for _ in range(5):
        with pytest.raises(UpstreamFailed) as caught:
            await book.token(KEY)
        depths.append(len(caught.traceback))
    assert len(set(depths[1:])) == 1


def test_credentials_are_not_shown() -> None:
    assert SECRET.password not in repr(KEY._replace(credentials=SECRET))
