"""A sample of what ``python -m tests.disk`` goes through: each call with each error, somewhere in the day; each
sickness of the disk from some step on; and the same around starts and stops.

A fault that has not fired fails its test.
"""

import random
import shutil
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.disk.campaign import Campaign
from tests.disk.day import STEPS
from tests.disk.faults import ERRORS, RESTART, SICK, START, STOP, Fault
from tests.disk.injector import Call, compiled
from tests.disk.lives import Outcome

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: faults are injected by a library made of C"),
    pytest.mark.asyncio(loop_scope="module"),
]

_SEED = 12
_OF_A_DAY = (Call.WRITE, Call.FSYNC, Call.RENAME, Call.CREATE, Call.MKDIR, Call.UNLINK)
_DAYS = [
    (call, error)
    for row, call in enumerate(_OF_A_DAY)
    for column, error in enumerate(ERRORS)
    if (row + column) % 2 == 0  # a night has the others too
]
_SOME = random.Random(_SEED).sample(list(STEPS), len(SICK))
_SICK = [Fault.sick(step, how) for step, how in zip(_SOME, SICK, strict=True)]
_AROUND = [
    Fault(STOP, (Call.TRUNCATE,), "ENOSPC"),
    Fault(RESTART, (Call.TRUNCATE,), "EDQUOT"),
    Fault(START, (Call.WRITE,), "EIO", 20),
    Fault(RESTART, (Call.WRITE,), "ENOSPC", 3),
    Fault(RESTART, (Call.OPEN,), "EIO", 2),
    Fault.sick(START, "gone"),
    Fault.sick(RESTART, "read-only"),
    Fault.sick(STOP, "full"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def campaign(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Campaign]:
    folder = tmp_path_factory.mktemp("disk")
    async with Campaign(folder, compiled(folder)) as found:
        yield found


@pytest.mark.parametrize(("call", "error"), _DAYS, ids=lambda value: getattr(value, "value", value))
async def test_one_call_that_fails_costs_no_pull(campaign: Campaign, call: Call, error: str) -> None:
    fault, outcome = await campaign.play_anywhere(call, error, _chooser(f"{call.value} {error}"))
    judge(fault, outcome)


@pytest.mark.parametrize("fault", _SICK, ids=str)
async def test_pulls_go_on_while_the_disk_is_sick_and_are_kept_when_it_is_well(
    campaign: Campaign, fault: Fault
) -> None:
    judge(fault, await campaign.play(fault))


@pytest.mark.parametrize("fault", _AROUND, ids=str)
async def test_starts_and_stops_go_well_on_a_disk_that_fails(campaign: Campaign, fault: Fault) -> None:
    judge(fault, await campaign.play(fault))


def judge(fault: Fault, outcome: Outcome) -> None:
    assert outcome.failed, f"{fault} has not fired"
    assert not outcome.findings, f"{fault}, which met {outcome.failed[0]}: {outcome.findings}"


def _chooser(seed: str) -> Callable[[int], int]:
    """Another one for each seed, and always the same."""
    return random.Random(f"{_SEED} {seed}").randrange
