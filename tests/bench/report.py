"""The outcome for people and programs: a table, a JSON file and a picture."""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from rich.table import Table

from tests.bench.contestants import OURS
from tests.bench.limits import Limits
from tests.bench.measure import Row, Spread, Target

MET, MISSED, NOT_MEASURED = "met", "missed", "not measured"
_COLOURS = {MET: "green", MISSED: "red", NOT_MEASURED: "yellow"}


@dataclass(frozen=True)
class Outcome:
    """Of a run."""

    rows: list[Row] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)  # work → why
    stolen: dict[str, float] = field(default_factory=dict)  # work → share of the cores that the machine's host kept


@dataclass(frozen=True)
class Judged:
    """One target of a row. ``ratio`` is ours by the peer's value, or by the limit where there is no peer."""

    target: Target
    ratio: float | None
    verdict: str


def judge(row: Row, target: Target) -> Judged:
    ours, limit = row.values.get(OURS), target.limit(row.values)
    if ours is None or limit is None:
        return Judged(target, None, NOT_MEASURED)
    against = row.values[target.peer].median if target.peer else target.factor
    ratio = ours.median / against if against else None
    return Judged(target, ratio, MET if target.met(ours, limit) else MISSED)


def judged(rows: Sequence[Row]) -> Iterator[tuple[Row, Judged]]:
    for row in rows:
        for target in row.targets:
            yield row, judge(row, target)


def number(value: float) -> str:
    """Three significant digits, and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(value: Spread) -> str:
    alike = value.low == value.high
    return number(value.median) + ("" if alike else f" ({number(value.low)}-{number(value.high)})")


def table(rows: Sequence[Row]) -> Table:
    shown = Table(title="median (least-greatest) of alternated rounds", show_lines=True)
    for column in ("work", "metric", OURS, "peers", "target", "ratio", "verdict"):
        shown.add_column(column)
    for row in rows:
        verdicts = [judge(row, target) for target in row.targets]
        shown.add_row(
            row.work,
            row.metric,
            spread(row.values[OURS]) if OURS in row.values else "-",
            "\n".join(f"{name} {spread(value)}" for name, value in row.values.items() if name != OURS),
            "\n".join(str(each.target) for each in verdicts),
            "\n".join("-" if each.ratio is None else f"{each.ratio:.2f}" for each in verdicts),
            "\n".join(f"[{_COLOURS[each.verdict]}]{each.verdict}[/]" for each in verdicts),
        )
    return shown


def machine() -> dict[str, object]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def write(folder: Path, outcome: Outcome, settings: Mapping[str, object], limits: Limits) -> None:
    """``results.json`` and ``results.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    results = [
        {
            "work": row.work,
            "metric": row.metric,
            "values": {name: value._asdict() for name, value in row.values.items()},
            "targets": [asdict(judge(row, target)) for target in row.targets],
        }
        for row in outcome.rows
    ]
    whole = {
        "machine": {**machine(), "limits": limits._asdict(), "stolen": outcome.stolen},
        "settings": settings,
        "failures": outcome.failures,
        "results": results,
    }
    (folder / "results.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    (folder / "results.svg").write_text(picture(outcome.rows))


def picture(rows: Sequence[Row]) -> str:
    """Bars per row, ours beside the peers', each row on its own scale."""
    line, label, width = 16, 230, 360
    parts, y = [], 24
    for row in rows:
        most = max((value.high for value in row.values.values()), default=0.0) or 1.0
        parts.append(_text(8, y, f"{row.work}: {row.metric}", "#000", "bold"))
        y += 8
        for name, value in row.values.items():
            colour = "#d9480f" if name == OURS else "#adb5bd"
            length, low, high = (each / most * width for each in (value.median, value.low, value.high))
            parts.append(f'<rect x="{label}" y="{y}" width="{length:.1f}" height="{line - 4}" fill="{colour}"/>')
            parts.append(f'<path d="M{label + low:.1f} {y + 6}H{label + high:.1f}" stroke="#212529"/>')
            parts.append(_text(24, y + 10, name, "#495057"))
            parts.append(_text(label + width + 8, y + 10, spread(value), "#495057"))
            y += line
        y += 20
    size = f'width="{label + width + 190}" height="{y}"'
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n' + "\n".join(parts) + "\n</svg>\n"


def _text(x: int, y: int, words: str, colour: str, weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" font-weight="{weight}">{escape(words)}</text>'
