"""Blocking calls, and what becomes of them when their caller is cancelled."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.tasks.off_loop import off_loop


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


class Call:
    """Blocks until ``go``."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go = threading.Event()
        self.out = False

    def __call__(self) -> str:
        self.began.set()
        self.go.wait(20)
        self.out = True
        return "brought"


async def test_it_returns_and_raises_as_the_call_does(pool: ThreadPoolExecutor) -> None:
    assert await off_loop(pool, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await off_loop(pool, lambda: 1 // 0)


async def test_a_cancelled_caller_interrupts_and_is_out_only_after_the_thread(pool: ThreadPoolExecutor) -> None:
    call = Call()
    caller = asyncio.create_task(off_loop(pool, call, interrupt=call.go.set))
    await asyncio.to_thread(call.began.wait)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert call.out


async def test_a_caller_that_is_cancelled_twice_still_waits(pool: ThreadPoolExecutor) -> None:
    call = Call()
    caller = asyncio.create_task(off_loop(pool, call))
    await asyncio.to_thread(call.began.wait)
    caller.cancel()
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    call.go.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert call.out


async def test_what_comes_too_late_is_given_back(pool: ThreadPoolExecutor) -> None:
    call, given = Call(), threading.Event()
    caller = asyncio.create_task(off_loop(pool, call, give_back=lambda brought: given.set()))
    await asyncio.to_thread(call.began.wait)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not call.out, "nobody waited for it"
    call.go.set()
    assert await asyncio.to_thread(given.wait, 20)


async def test_a_call_that_waits_for_its_thread_never_begins(pool: ThreadPoolExecutor) -> None:
    first, second = Call(), Call()
    running = asyncio.create_task(off_loop(pool, first))
    await asyncio.to_thread(first.began.wait)
    waiting = asyncio.create_task(off_loop(pool, second))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.go.set()
    await running
    assert not second.began.is_set()
