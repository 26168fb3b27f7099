"""Who waits for upstreams: none of them takes all threads, and a thread is free when its call is over."""

import asyncio
import threading

import pytest

from proxy.upstream.ask_threads import AskThreads


def nothing(_: object = None) -> None:
    return


async def test_an_upstream_that_never_answers_leaves_threads_to_others() -> None:
    threads, gate = AskThreads(most=2), threading.Event()
    silent = [asyncio.create_task(threads.run("silent", gate.wait, nothing, nothing)) for _ in range(20)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(threads.run("well", lambda: "an answer", nothing, nothing), 10) == "an answer"
    assert not any(each.done() for each in silent)
    gate.set()
    assert all(await asyncio.gather(*silent))
    threads.close()


async def test_a_call_that_cannot_be_interrupted_keeps_its_place_until_it_is_over() -> None:
    threads, gate = AskThreads(most=1), threading.Event()
    late: list[bool] = []
    deaf = asyncio.create_task(threads.run("a", gate.wait, nothing, late.append))
    await asyncio.sleep(0)
    deaf.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deaf
    after = asyncio.create_task(threads.run("a", lambda: "next", nothing, nothing))
    await asyncio.sleep(0.01)
    assert not after.done()
    gate.set()
    assert await asyncio.wait_for(after, 10) == "next"
    assert late == [True]
    threads.close()


async def test_a_pool_that_is_closed_takes_no_place() -> None:
    threads = AskThreads(most=1)
    threads.close()
    for _ in range(3):
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(threads.run("a", lambda: None, nothing, nothing), 10)
