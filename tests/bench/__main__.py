"""``tests/bench/run``: every work, or the named ones, and what came out.

A missed target is printed with its number. With ``--short`` the works are small, the targets half as demanding, and
one that is missed or not measured is a failure: a guard against collapse, not a measurement.
"""

import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer
from rich.console import Console

from proxy.config import parse_size
from tests.bench import bundles, colds, hits, letting_go, memory, secure, start
from tests.bench.bench import LONG, SHORT, Bench, opened
from tests.bench.clients import WrongAnswer
from tests.bench.contestants import OURS
from tests.bench.limits import measure
from tests.bench.measure import CoreTime, Row, Spread, Target
from tests.bench.report import MET, Outcome, judged, table, write
from tests.process import ProcessFailed

Work = Callable[[Bench], list[Row]]

WORKS: Mapping[str, Work] = MappingProxyType(
    {
        "hit-large": hits.large,
        "hit-small": hits.small,
        "cold": colds.one,
        "cold-tls": colds.over_tls,
        "cold-together": colds.together,
        "cold-overhead": colds.overhead,
        "parallel": colds.parallel,
        "crowd": hits.crowd,
        "tls-large": secure.large,
        "tls-small": secure.small,
        "tls-beside": secure.beside,
        "letting-go": letting_go.under_hits,
        "letting-go-idle": letting_go.idle,
        "bundles": bundles.bundles,
        "start": start.large_catalog,
        "memory": memory.memory,
    }
)
_LAG = 100.0  # milliseconds
_OUT = Path(__file__).parent / "out"


def main(
    only: Annotated[list[str] | None, typer.Option(help="a work by name; may be repeated")] = None,
    rounds: Annotated[int, typer.Option(help="alternated rounds per work; 0: five, or one with --short")] = 0,
    short: Annotated[bool, typer.Option("--short", help="a few minutes, exit 1 on a collapse")] = False,
    list_works: Annotated[bool, typer.Option("--list", help="the works and what they are")] = False,
    bundle: Annotated[str, typer.Option(help="bytes of a bundle; 10GiB, or 1GiB with --short")] = "",
    folder: Annotated[Path | None, typer.Option(help="where caches and content go, 35 GB; all on one disk")] = None,
) -> None:
    if list_works:
        for name, work in WORKS.items():
            print(f"{name:14} {(work.__doc__ or '').strip()}")
        return
    if unknown := set(only or ()) - set(WORKS):
        raise typer.BadParameter(f"no such work: {', '.join(sorted(unknown))}")
    scale = SHORT if short else LONG
    scale = replace(scale, rounds=rounds or scale.rounds, bundle=parse_size(bundle) if bundle else scale.bundle)
    _raise_descriptors()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave by the exits that stop the servers
    limits = measure()
    print(limits, flush=True)
    with _temporary(folder) as own, opened(own, scale, limits) as bench:
        outcome = _run(bench, {name: work for name, work in WORKS.items() if not only or name in only})
    rows = outcome.rows
    if short:
        rows = [replace(row, targets=[target.eased() for target in row.targets]) for row in rows]
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table(rows))
    write(_OUT, replace(outcome, rows=rows), {"short": short, **asdict(scale)}, limits)
    collapsed = short and any(each.verdict != MET for _, each in judged(rows))
    raise typer.Exit(1 if outcome.failures or collapsed else 0)


def _run(bench: Bench, works: Mapping[str, Work]) -> Outcome:
    outcome = Outcome()
    for name, work in works.items():
        print(f"{name}: {(work.__doc__ or '').strip()}", flush=True)
        begun = CoreTime.now()
        try:
            outcome.rows.extend(work(bench))
        except (WrongAnswer, ProcessFailed, OSError) as failure:
            outcome.failures[name] = str(failure)
            print(f"{name}: failed: {failure}", flush=True)
        outcome.rows.extend(_lag(name, bench))
        outcome.stolen[name] = CoreTime.now().stolen_since(begun)
        print(f"{name}: the host kept {outcome.stolen[name]:.0%} of the cores to itself", flush=True)
    return outcome


def _lag(name: str, bench: Bench) -> list[Row]:
    """How late the event loop was under the work."""
    if not bench.lags:
        return []
    values = {OURS: Spread.of([lag * 1e3 for lag in bench.lags])}
    bench.lags.clear()
    return [Row(f"event loop under {name}", "p99 of its lag, ms", values, [Target("≤", _LAG)])]


def _raise_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _temporary(parent: Path | None) -> Iterator[Path]:
    """A folder of this run; on the disk of ``parent``, or where temporary files go."""
    folder = Path(tempfile.mkdtemp(prefix="entrepot-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
