"""Long work in the loop: in steps, in turn, and with everybody else in between."""

import asyncio

import pytest

from proxy.core.steps import Steps
from proxy.tasks.turns import Turns


class Rounds:
    """Counts the rounds of the loop, and notes in which ones steps are taken."""

    def __init__(self) -> None:
        self.now = 0
        self.of_steps: list[int] = []

    async def count(self) -> None:
        while True:
            self.now += 1
            await asyncio.sleep(0)

    def work(self, steps: int, made: str) -> Steps[str]:
        for _ in range(steps):
            yield
            self.of_steps.append(self.now)
        return made


async def test_no_two_steps_are_taken_in_one_round() -> None:
    rounds, turns = Rounds(), Turns()
    counting = asyncio.create_task(rounds.count())
    made = await asyncio.gather(*(turns.run(rounds.work(5, name)) for name in "abcdef"))
    counting.cancel()
    assert made == list("abcdef")
    assert len(set(rounds.of_steps)) == len(rounds.of_steps) == 30


async def test_a_short_work_does_not_wait_for_the_end_of_a_long_one() -> None:
    rounds, turns = Rounds(), Turns()
    long = asyncio.create_task(turns.run(rounds.work(1000, "long")))
    await asyncio.sleep(0)
    assert await turns.run(rounds.work(2, "short")) == "short"
    assert not long.done()
    long.cancel()


async def test_work_of_one_step_is_done_before_anything_is_awaited() -> None:
    rounds, turns = Rounds(), Turns()
    long = asyncio.create_task(turns.run(rounds.work(1000, "long")))
    await asyncio.sleep(0)
    with pytest.raises(StopIteration) as end:
        turns.run(rounds.work(0, "at once")).send(None)
    assert end.value.value == "at once"
    long.cancel()


async def test_what_the_work_raises_or_a_cancelled_caller_keeps_nobody_from_his_turn() -> None:
    def fails() -> Steps[None]:
        yield
        raise ValueError("no good")

    turns = Turns()
    with pytest.raises(ValueError, match="no good"):
        await turns.run(fails())
    leaving = asyncio.create_task(turns.run(Rounds().work(1000, "left")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await turns.run(Rounds().work(3, "next")) == "next"


async def test_what_is_long_is_done_one_after_the_other() -> None:
    turns, done = Turns(), list[str]()
    taken = dict.fromkeys("abc", 0)

    def work(name: str) -> Steps[None]:
        for _ in range(200):
            taken[name] += 1
            assert sum(each > 100 for key, each in taken.items() if key not in done) <= 1
            yield
        done.append(name)

    await asyncio.gather(*(turns.run(work(name)) for name in taken))
    assert done == list("abc")
