"""The keeper alone, on a manual clock."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.core.errors import CredentialsFailed, RateLimited, UpstreamFailed, UpstreamUnreachable
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.upstream.ecr_aws import Aws, Issued
from proxy.upstream.ecr_faults import AwsFault
from proxy.upstream.ecr_identity import AwsIdentity
from proxy.upstream.ecr_tokens import EcrTokenBook, TokenKeeper
from proxy.upstream.settings import Timing

HOUR = 3600.0
HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


class ManualClock:
    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, done))
        await done

    async def advance(self, seconds: float) -> None:
        """Moves time and lets everything run that is due, in order."""
        goal = self.time + seconds
        await settle()
        while due := sorted((at, id(done), done) for at, done in self._sleepers if at <= goal and not done.done()):
            self.time = max(self.time, due[0][0])
            due[0][2].set_result(None)
            await settle()
        self.time = goal


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class ScriptedAws:
    """Answers with numbered tokens; ``fault`` fails, ``gate`` holds."""

    def __init__(self, lifetime: float = 12 * HOUR) -> None:
        self.calls = 0
        self.lifetime = lifetime
        self.fault: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def issue(self) -> Issued:
        self.calls += 1
        number = self.calls
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return Issued(f"token-{number}", self.lifetime)


@asynccontextmanager
async def keeping(
    aws: ScriptedAws, clock: ManualClock, jitter: Callable[[], float] = lambda: 0.5
) -> AsyncIterator[TokenKeeper]:
    async with task_group() as tasks:
        yield TokenKeeper("test", aws.issue, Timing(now=clock.now, sleep=clock.sleep, jitter=jitter), Jobs(tasks))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_two_hundred_waiters_cost_one_call(clock: ManualClock) -> None:
    aws = ScriptedAws()
    aws.gate.clear()
    async with keeping(aws, clock) as keeper:
        waiters = [asyncio.create_task(keeper.token(HOST)) for _ in range(200)]
        await settle()
        assert not any(waiter.done() for waiter in waiters)
        aws.gate.set()
        assert set(await asyncio.gather(*waiters)) == {"token-1"}
        assert aws.calls == 1


async def test_two_hundred_waiters_at_expiry_cost_one_call(clock: ManualClock) -> None:
    aws = ScriptedAws()
    async with keeping(aws, clock) as keeper:
        await keeper.token(HOST)
        aws.fault = AwsFault(UpstreamUnreachable, "down")
        await clock.advance(13 * HOUR)
        failed_so_far = aws.calls
        aws.fault = None
        aws.gate.clear()
        clock.time += 120
        waiters = [asyncio.create_task(keeper.token(HOST)) for _ in range(200)]
        await settle()
        aws.gate.set()
        assert set(await asyncio.gather(*waiters)) == {f"token-{aws.calls}"}
        assert aws.calls == failed_so_far + 1


async def test_it_is_renewed_in_the_background_at_half_life(clock: ManualClock) -> None:
    aws = ScriptedAws()
    async with keeping(aws, clock) as keeper:
        assert await keeper.token(HOST) == "token-1"
        await clock.advance(5.9 * HOUR)
        assert aws.calls == 1
        await clock.advance(0.2 * HOUR)
        assert aws.calls == 2
        assert await keeper.token(HOST) == "token-2"


async def test_a_failed_renewal_keeps_the_token_until_its_real_expiry(clock: ManualClock) -> None:
    aws = ScriptedAws()
    async with keeping(aws, clock) as keeper:
        await keeper.token(HOST)
        aws.fault = AwsFault(UpstreamUnreachable, "AWS is down")
        await clock.advance(11.99 * HOUR)
        assert aws.calls > 1
        assert await keeper.token(HOST) == "token-1"
        await clock.advance(0.02 * HOUR)
        with pytest.raises(UpstreamUnreachable, match=rf"{HOST}: AWS is down"):
            await keeper.token(HOST)


async def test_failing_calls_are_spaced_up_to_a_minute(clock: ManualClock) -> None:
    aws = ScriptedAws()
    aws.fault = AwsFault(RateLimited, "AWS throttles")
    async with keeping(aws, clock, jitter=lambda: 0.0) as keeper:
        for _ in range(50):  # no caller makes a call of its own while it is too soon
            with pytest.raises(UpstreamFailed):
                await keeper.token(HOST)
        assert aws.calls == 1
        await clock.advance(0.25 + 0.5 + 1 + 2 + 4 + 8 + 16 + 32)
        assert aws.calls == 9
        await clock.advance(600)
        assert aws.calls == 19


async def test_throttling_is_an_outage_that_says_when_aws_is_asked_again(clock: ManualClock) -> None:
    aws = ScriptedAws()
    aws.fault = AwsFault(RateLimited, "AWS throttles")
    async with keeping(aws, clock, jitter=lambda: 0.0) as keeper:
        await clock.advance(0)
        with pytest.raises(UpstreamFailed):
            await keeper.token(HOST)
        await clock.advance(4)
        with pytest.raises(UpstreamFailed, match="AWS throttles; AWS is asked again in 4 s"):
            await keeper.token(HOST)


async def test_tiny_lifetimes_make_no_loop(clock: ManualClock) -> None:
    aws = ScriptedAws(lifetime=60.0)
    async with keeping(aws, clock, jitter=lambda: 0.0) as keeper:
        await keeper.token(HOST)
        await clock.advance(600)
        assert aws.calls == 11


async def test_many_refused_with_the_same_token_cause_one_renewal(clock: ManualClock) -> None:
    aws = ScriptedAws()
    async with keeping(aws, clock) as keeper:
        old = await keeper.token(HOST)
        clock.time += 120
        assert await asyncio.gather(*(keeper.successor(old) for _ in range(50))) == ["token-2"] * 50
        assert await keeper.successor(old) == "token-2"
        assert aws.calls == 2


async def test_a_denial_within_the_first_minute_is_not_the_token(clock: ManualClock) -> None:
    aws = ScriptedAws()
    async with keeping(aws, clock) as keeper:
        token = await keeper.token(HOST)
        clock.time += 59
        assert await keeper.successor(token) is None
        assert await keeper.token(HOST) == token
        assert aws.calls == 1


async def test_an_unknown_token_is_given_up_at_any_age_but_once_a_minute(clock: ManualClock) -> None:
    aws = ScriptedAws()
    async with keeping(aws, clock) as keeper:
        keeper.drop(await keeper.token(HOST))
        assert await keeper.token(HOST) == "token-2"
        for _ in range(10):
            keeper.drop("token-2")
            assert await keeper.token(HOST) == "token-2"
        clock.time += 60
        keeper.drop("token-2")
        assert await keeper.token(HOST) == "token-3"
        assert aws.calls == 3


async def test_an_unknown_token_makes_no_call_while_aws_fails(clock: ManualClock) -> None:
    aws = ScriptedAws()
    async with keeping(aws, clock, jitter=lambda: 0.0) as keeper:
        token = await keeper.token(HOST)
        aws.fault = AwsFault(UpstreamUnreachable, "AWS is down")
        await clock.advance(6 * HOUR)
        calls = aws.calls
        keeper.drop(token)
        for _ in range(10):
            with pytest.raises(UpstreamUnreachable, match="AWS is down"):
                await keeper.token(HOST)
        assert aws.calls == calls


async def test_a_doubtful_token_stays_when_no_successor_can_be_had(clock: ManualClock) -> None:
    aws = ScriptedAws()
    async with keeping(aws, clock) as keeper:
        token = await keeper.token(HOST)
        clock.time += 120
        aws.fault = AwsFault(UpstreamUnreachable, "down")
        assert await keeper.successor(token) is None
        assert aws.calls == 2
        assert await keeper.token(HOST) == token


async def test_a_dropped_token_is_not_used_again_even_when_aws_fails(clock: ManualClock) -> None:
    aws = ScriptedAws()
    async with keeping(aws, clock) as keeper:
        token = await keeper.token(HOST)
        clock.time += 120
        aws.fault = AwsFault(CredentialsFailed, "denied")
        keeper.drop(token)
        with pytest.raises(CredentialsFailed):
            await keeper.token(HOST)
        assert aws.calls == 2


async def test_a_caller_who_leaves_does_not_end_the_call_of_the_others(clock: ManualClock) -> None:
    aws = ScriptedAws()
    aws.gate.clear()
    async with keeping(aws, clock) as keeper:
        leaver, stayer = (asyncio.create_task(keeper.token(HOST)) for _ in range(2))
        await settle()
        leaver.cancel()
        await settle()
        assert leaver.cancelled()
        aws.gate.set()
        assert await stayer == "token-1"
        assert aws.calls == 1


async def test_closing_while_a_call_is_in_the_air_leaves_no_task(clock: ManualClock) -> None:
    aws = ScriptedAws()
    aws.gate.clear()
    before = asyncio.all_tasks()
    async with keeping(aws, clock) as keeper:
        waiter = asyncio.create_task(keeper.token(HOST))
        await settle()
    await asyncio.gather(waiter, return_exceptions=True)
    assert asyncio.all_tasks() == before


async def test_an_unforeseen_error_is_an_outage_and_the_keeper_lives_on(clock: ManualClock) -> None:
    aws = ScriptedAws()
    aws.fault = ZeroDivisionError()
    async with keeping(aws, clock) as keeper:
        with pytest.raises(UpstreamFailed, match="ZeroDivisionError"):
            await keeper.token(HOST)
        aws.fault = None
        await clock.advance(2)
        assert await keeper.token(HOST) == "token-2"
        assert keeper.stats.failures == 1
        assert keeper.stats.trouble == ""


async def test_one_keeper_for_all_accounts_of_a_region_and_identity(jobs: Jobs) -> None:
    made: list[AwsIdentity] = []

    def make(identity: AwsIdentity) -> Aws:
        made.append(identity)
        return Aws(identity)

    book = EcrTokenBook(jobs, aws=make)
    here, again = AwsIdentity("us-east-1"), AwsIdentity("us-east-1")
    assert book.private(here) is book.private(again)
    assert book.private(here) is not book.private(AwsIdentity("eu-west-1"))
    assert book.private(here) is not book.private(AwsIdentity("us-east-1", role_arn="arn:aws:iam::1:role/x"))
    assert book.private(here) is not book.public(here)
    assert len(made) == 3


def test_a_token_does_not_show_itself() -> None:
    assert "secret" not in repr(Issued("secret", 1.0))
