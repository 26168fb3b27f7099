"""Waiting for a place that several share."""

import asyncio

from proxy.tasks.places import Places


async def waits(places: Places, name: str) -> "asyncio.Task[None]":
    task = asyncio.create_task(places.take(name))
    await asyncio.sleep(0)
    return task


async def test_those_who_wait_are_served_name_by_name_and_in_turn() -> None:
    places = Places(1)
    await places.take("a")
    await places.take("z")
    served: list[str] = []
    tasks = []
    for name in ("a1", "a2", "a3", "b1", "c1"):
        task = await waits(places, name[0])
        task.add_done_callback(lambda _, name=name: served.append(name))  # type: ignore[misc]
        tasks.append(task)
    assert places.wanted == 5
    holder = "a"
    for _ in tasks:
        places.give_back(holder)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        holder = served[-1][0]
    assert served == ["a1", "b1", "c1", "a2", "a3"]
    places.give_back(holder)
    assert places.wanted == 0
    assert places.take_now("b")
    assert not places.take_now("a")


async def test_who_leaves_while_waiting_or_in_the_step_in_which_the_place_came_takes_none_with_him() -> None:
    places = Places(1)
    await places.take("a")
    await places.take("z")
    first, second, third = [await waits(places, name) for name in ("b", "b", "c")]
    first.cancel()
    places.give_back("a")  # before the first has noticed
    second.cancel()  # and after it was given to the second
    await third
    assert places.wanted == 0
    assert first.cancelled()
    places.give_back("c")
    assert places.take_now("a")


async def test_whoever_begins_to_wait_is_told_of() -> None:
    told: list[int] = []
    places = Places(1, lambda: told.append(places.wanted))
    await places.take("a")
    assert told == []
    waiting = await waits(places, "a")
    assert told == [1]
    places.give_back("a")
    await waiting


async def test_one_name_that_never_gives_back_leaves_places_for_another() -> None:
    places = Places(64)
    silent = [await waits(places, "silent.test") for _ in range(100)]
    for _ in range(3):
        async with asyncio.timeout(1), places.place("other.test"):
            pass
    assert sum(task.done() for task in silent) == 64
    for task in silent:
        task.cancel()
    await asyncio.gather(*silent, return_exceptions=True)
    assert places.wanted == 0
