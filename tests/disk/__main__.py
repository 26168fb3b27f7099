"""Every call of the disk that fails once, with every error, until a day has no more of them; and every sickness of the
disk from every step of the day on, starts and stops among them.

    python -m tests.disk [--step STEP] [--call CALL] [--error ERROR] [--in-turn] [--logs FOLDER]

One day has the same call of all its steps fail; each fails by itself again where that day goes wrong, or does not get
to it. Takes some hours, or a fifth of that where the calls fail with the errors in turn instead of with each of them;
parts of it, by their steps, may run beside each other. Prints what it finds, the sum of it by kind at the end, and ends
with 1 where it found anything.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.disk.campaign import Campaign, every
from tests.disk.day import STEPS
from tests.disk.faults import ERRORS, Fault, sick_days
from tests.disk.injector import Call, compiled
from tests.disk.lives import Outcome


class Report:
    """What was found so far."""

    def __init__(self) -> None:
        self.tried = self.wrong = 0
        self._kinds: Counter[str] = Counter()

    def add(self, fault: Fault, outcome: Outcome) -> None:
        self.tried += 1
        met = str(outcome.failed[0]) if outcome.failed else "nothing"
        self.wrong += len(outcome.findings) > 0
        for finding in outcome.findings:
            print(f"{fault} [{met}] {finding}", flush=True)
        self._kinds.update({finding.kind.value for finding in outcome.findings})

    def all_well(self, faults: Sequence[Fault]) -> None:
        self.tried += len(faults)

    def add_together(self, faults: Sequence[Fault], outcome: Outcome) -> None:
        """What each of them by itself may not show."""
        for finding in outcome.findings:
            print(f"together, {faults[0]} and on: {finding}", flush=True)
        self.wrong += len(outcome.findings) > 0

    def so_far(self, words: str) -> None:
        print(f"{words}, {self.tried} faults so far", file=sys.stderr, flush=True)

    def end(self, seconds: float) -> None:
        print(f"{self.tried} faults in {seconds:.0f} s, {self.wrong} that went wrong")
        for kind, count in self._kinds.most_common():
            print(f"{count:6} {kind}")


async def go(
    steps: Sequence[str], calls: Sequence[Call], errors: Sequence[list[str]], logs: Path | None, report: Report
) -> None:
    """All of it, for each of these sequences of errors, which are met in turn."""
    with tempfile.TemporaryDirectory(prefix="entrepot-disk-") as made:
        folder = Path(made)
        async with Campaign(folder, compiled(folder), logs) as campaign:
            journal = {step: seen for step, seen in (await campaign.journal()).items() if step in steps or not steps}
            for call in calls:
                counts = {step: sum(each.call is call for each in seen) for step, seen in journal.items()}
                for each in errors:
                    await _steps_of_a_day(campaign, call, each, counts, report)
                    for step in (step for step in counts if step not in STEPS and counts[step]):
                        await _until_none_is_left(campaign, every(call, each, step), counts[step], report)
                report.so_far(call.value)
            sick = {error for each in errors for error in each}
            for fault in sick_days(journal):
                if fault.error in sick and {*fault.calls} & {*calls}:
                    report.add(fault, await campaign.play(fault))
                    report.so_far(str(fault))


async def _steps_of_a_day(
    campaign: Campaign, call: Call, errors: list[str], counts: Mapping[str, int], report: Report
) -> None:
    """``counts`` has how many of these calls a step made without a fault: with one there may be more."""
    left = {step: every(call, errors[place % len(errors) :] + errors[: place % len(errors)], step)
            for place, step in enumerate(STEPS) if counts.get(step)}  # fmt: skip
    while left:
        faults = [next(further) for further in left.values()]
        outcome, met = await campaign.play_together(faults)
        if not outcome.findings:
            report.all_well(met)
        for fault in faults:
            if outcome.findings or fault not in met:
                is_last = fault.nth > counts[fault.step]
                alone = await (campaign.play if is_last or outcome.findings else campaign.play_afresh)(fault)
                if alone.failed:
                    report.add(fault, alone)
                elif is_last:
                    del left[fault.step]
        report.add_together(faults, outcome)


async def _until_none_is_left(campaign: Campaign, faults: Iterable[Fault], count: int, report: Report) -> None:
    for fault in faults:
        outcome = await campaign.play(fault)
        if outcome.failed:
            report.add(fault, outcome)
        elif fault.nth > count:
            return


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.disk", description=__doc__)
    parser.add_argument("--step", action="append", default=[])
    parser.add_argument("--call", action="append", choices=[call.value for call in Call])
    parser.add_argument("--error", action="append", choices=ERRORS)
    parser.add_argument("--in-turn", action="store_true", help="each call fails with one of the errors")
    parser.add_argument("--logs", type=Path, help="where the logs of lives are kept in which something went wrong")
    given = parser.parse_args()
    calls = [Call(name) for name in given.call] if given.call else list(Call)
    errors = given.error or [*ERRORS]
    groups = [errors] if given.in_turn else [[error] for error in errors]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no process is left behind
    report, began = Report(), time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(go(given.step, calls, groups, given.logs, report))
    report.end(time.monotonic() - began)
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
