"""When the storage is looked after."""

from proxy.cache.holdings import Holdings
from proxy.cache.upkeep import Upkeep


async def test_a_round_comes_each_ten_seconds_and_sooner_while_storage_is_sick(holdings: Holdings) -> None:
    rounds: list[int] = []
    sick: list[str] = []
    second = 0

    async def flush() -> None:
        rounds.append(second)

    async def nothing() -> None:
        pass

    upkeep = Upkeep(holdings, flush, nothing)
    for second in range(1, 55):
        sick[:] = ["the disk is full"] if 23 <= second < 51 else []
        await upkeep.look(lambda: sick)
    assert rounds == [10, 20, 23, 25, 29, 37, 47]
