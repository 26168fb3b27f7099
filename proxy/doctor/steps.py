"""What an examination gives: named steps with a verdict, and what to do where one failed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

STEP_LIMIT = 30.0  # seconds; longer than any call inside has of its own


class Verdict(StrEnum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Step(NamedTuple):
    """``subject`` is the upstream's name, ``host`` for the machine, ``proxy`` for a running Entrepot, ``node`` for the
    files of container clients; ``fix`` is empty unless the step failed."""

    subject: str
    name: str
    verdict: Verdict
    detail: str
    fix: str = ""


class Ailment(Exception):
    """A step failed: what was found, and what to do."""

    def __init__(self, detail: str, fix: str) -> None:
        self.detail = detail
        self.fix = fix


class NotNeeded(Exception):
    """A step does not apply; the text says why, and what builds on it goes on."""


def healthy(steps: Sequence[Step]) -> bool:
    return all(step.verdict is not Verdict.FAILED for step in steps)


class Plan:
    """Steps of one subject, taken one after the other. One whose ground has failed is skipped, so the first failure is
    the cause. A step never raises and is bounded in time: ``limit`` seconds, then ``late`` is the fix."""

    def __init__(self, subject: str, late: str, limit: float = STEP_LIMIT) -> None:
        self.steps: list[Step] = []
        self._subject = subject
        self._late = late
        self._limit = limit
        self._failed: set[str] = set()

    def branch(self) -> "Plan":
        """Steps that build on those taken so far, and on which nothing else builds."""
        branch = Plan(self._subject, self._late, self._limit)
        branch._failed |= self._failed
        return branch

    async def take(self, name: str, needs: Sequence[str], look: Callable[[], Awaitable[str]]) -> Step:
        """``look`` returns what was found, or raises Ailment or NotNeeded; ``needs`` names earlier steps."""
        step = await self._step(name, needs, look)
        if step.verdict is Verdict.FAILED or (step.verdict is Verdict.SKIPPED and self._broken(needs)):
            self._failed.add(name)
        self.steps.append(step)
        return step

    async def _step(self, name: str, needs: Sequence[str], look: Callable[[], Awaitable[str]]) -> Step:
        if missing := self._broken(needs):
            return Step(self._subject, name, Verdict.SKIPPED, f"not looked at, since '{missing[0]}' did not do")
        try:
            async with asyncio.timeout(self._limit):
                return Step(self._subject, name, Verdict.OK, await look())
        except NotNeeded as reason:
            return Step(self._subject, name, Verdict.SKIPPED, str(reason))
        except Ailment as ailment:
            return Step(self._subject, name, Verdict.FAILED, ailment.detail, ailment.fix)
        except TimeoutError:
            return Step(self._subject, name, Verdict.FAILED, f"no answer in {self._limit:.0f} s", self._late)

    def _broken(self, needs: Sequence[str]) -> list[str]:
        return [need for need in needs if need in self._failed]
