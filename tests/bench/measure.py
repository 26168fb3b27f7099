"""What a server costs, read from /proc, and how repeated measurements become one value with its spread.

CPU is user + system time of a process and everything below it (nginx's workers), in ticks of 10 ms: let each
measurement last long enough.
"""

import mmap
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from tests.bench.contestants import Server

_TICK = os.sysconf("SC_CLK_TCK")
_QUIET = 0.4  # seconds without CPU use that count as settled
_SETTLE_LIMIT = 20.0  # seconds
_BLOCK = 2 << 20

Sample = Mapping[str, float]  # metric → value


class Spread(NamedTuple):
    """The median of the rounds with the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Target:
    """Ours against a limit: ``factor`` x the peer's value, or ``factor`` itself where there is no peer. ``ease`` is by
    how much less a guard against collapse asks for: more than half where what is measured is over too soon to be
    steady."""

    relation: str  # "≥", "≤" or "="
    factor: float
    peer: str | None = None
    ease: float = 2.0

    def eased(self) -> "Target":
        """What a guard against collapse asks for."""
        factor = {"≥": self.factor / self.ease, "≤": self.factor * self.ease, "=": self.factor}[self.relation]
        return replace(self, factor=factor)

    def limit(self, values: Mapping[str, Spread]) -> float | None:
        """None where the peer was not measured."""
        if self.peer is None:
            return self.factor
        return self.factor * values[self.peer].median if self.peer in values else None

    def met(self, ours: Spread, limit: float) -> bool:
        """Medians count; where a value must be exact, every round counts."""
        exact = ours.low == ours.high == limit
        return {"≥": ours.median >= limit, "≤": ours.median <= limit, "=": exact}[self.relation]

    def __str__(self) -> str:
        return f"{self.relation} {self.factor:.3g}" + (f" x {self.peer}" if self.peer else "")


@dataclass(frozen=True)
class Row:
    """One metric of one work: every contestant's value, and what ours has to be."""

    work: str
    metric: str
    values: Mapping[str, Spread]
    targets: Sequence[Target] = ()


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    members = [pid]
    for member in members:
        for task in Path(f"/proc/{member}/task").glob("*/children"):
            members.extend(int(child) for child in task.read_text().split())
    return members


def cpu_seconds(pid: int) -> float:
    return sum(_ticks(member) for member in family(pid)) / _TICK


def rss_bytes(pid: int, field: str = "VmRSS") -> int:
    """Resident bytes now; with ``VmHWM`` the most there ever were."""
    return sum(_status(member, field) * 1024 for member in family(pid))


def threads(pid: int) -> int:
    return sum(_status(member, "Threads") for member in family(pid))


def settle(pid: int) -> None:
    """Returns when the server no longer works on what is behind it (storing, syncing)."""
    deadline = time.monotonic() + _SETTLE_LIMIT
    before = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(_QUIET)
        now = cpu_seconds(pid)
        if now - before <= 1 / _TICK:
            return
        before = now


class CoreTime(NamedTuple):
    """Ticks of all cores since the machine started."""

    all: int
    stolen: int  # by the host of this virtual machine, for others

    @classmethod
    def now(cls) -> "CoreTime":
        user, nice, system, idle, waiting, irq, softirq, stolen = map(
            int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        )
        return cls(user + nice + system + idle + waiting + irq + softirq + stolen, stolen)

    def stolen_since(self, earlier: "CoreTime") -> float:
        """A share of 1."""
        return (self.stolen - earlier.stolen) / max(1, self.all - earlier.all)


@contextmanager
def warm_memory(size: int) -> Iterator[None]:
    """So many bytes of free memory are really there. A virtual machine gives its free blocks of 2 MiB back to its host,
    whose next touch then costs seven times as much (0.74 s for 256 MiB, measured) and would fall on whoever is measured
    next. A block of which one page is taken stays."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for start in range(0, size, _BLOCK):
            memory[start : start + _BLOCK] = bytes(_BLOCK)
        for start in range(0, size, _BLOCK):
            memory.madvise(mmap.MADV_DONTNEED, start + mmap.PAGESIZE, _BLOCK - mmap.PAGESIZE)
        yield


def alternate(
    rounds: int, servers: Sequence[Server], sample: Callable[[Server, int], Sample]
) -> dict[str, dict[str, Spread]]:
    """metric → contestant → spread. Within a round each contestant has its turn; the first place goes round."""
    samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
    for number in range(rounds):
        first = number % max(1, len(servers))
        for server in [*servers[first:], *servers[:first]]:
            samples[server.name].append(sample(server, number))
    spreads: dict[str, dict[str, Spread]] = {}
    for name, taken in samples.items():
        for metric in taken[0]:
            spreads.setdefault(metric, {})[name] = Spread.of([each[metric] for each in taken])
    return spreads


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[11]) + int(fields[12])


def _status(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0
