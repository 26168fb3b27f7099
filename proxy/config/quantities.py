"""Durations, sizes and shares of a disk as people write them: ``30s``, ``512MiB``, ``1.5GB``, ``5%``.

A duration is held as seconds (float, whole milliseconds), a size as bytes (int). What is written back is exact, so that
``config show`` loads again as the same settings; pydantic's ByteSize rounds, takes ``200G`` and ``1.5`` for sizes, and
has no upper bound, and parsers of durations take weeks, years and signs.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, PlainValidator, WithJsonSchema

from proxy.core.budget import FreeSpaceRule

KiB, MiB, GiB = 1024, 1024**2, 1024**3
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

_MILLISECONDS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_BYTES = (
    {f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", 1)}
    | {f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", 1)}
    | {"kB": 1000, "B": 1}
)
_LONGEST = 3650 * _MILLISECONDS["d"]
_LARGEST = 2**63 - 1  # what SQLite and file offsets hold

_DURATION_TEXT = r"0|[0-9]{1,12}(ms|s|m|h|d)"
_SIZE_TEXT = r"[0-9]{1,19}|[0-9]{1,19}(\.[0-9]{1,9})? ?(B|[kKMGTP]B|[KMGTP]iB)"
_PERCENT_TEXT = r"[0-9]{1,2}(\.[0-9]{1,3})?%"
_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?) ?(B|[kKMGTP]B|[KMGTP]iB)", re.ASCII)
_PERCENT = re.compile(_PERCENT_TEXT, re.ASCII)
_LARGER = re.compile(r"max\(([^, ]+), ?([^, ]+)\)", re.ASCII)


def parse_duration(written: object) -> float:
    """Seconds. Raises ValueError with advice."""
    if written in ("0", 0) and not isinstance(written, bool):
        return 0.0
    if isinstance(written, int | float) and not isinstance(written, bool):
        raise ValueError("a duration needs a unit, such as 60s, 5m, 12h or 7d")
    found = _DURATION.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise ValueError("not a duration: write a whole number and a unit, such as 500ms, 60s, 5m, 12h or 7d")
    milliseconds = int(found[1]) * _MILLISECONDS[found[2]]
    if milliseconds > _LONGEST:
        raise ValueError("a duration is at most 3650d")
    return milliseconds / 1000


def format_duration(seconds: float) -> str:
    """The written form with the largest unit that fits evenly."""
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0"
    unit, length = next((u, n) for u, n in _MILLISECONDS.items() if milliseconds % n == 0)
    return f"{milliseconds // length}{unit}"


def parse_size(written: object) -> int:
    """Bytes; fractions of a byte are cut off. Raises ValueError with advice."""
    if isinstance(written, str) and re.fullmatch(r"[0-9]{1,19}", written, re.ASCII):
        written = int(written)
    if isinstance(written, int) and not isinstance(written, bool) and written >= 0:
        size = written
    elif isinstance(written, str) and (found := _SIZE.fullmatch(written)):
        size = int(Decimal(found[1]) * _BYTES[found[2]])
    else:
        raise ValueError("not a size: write bytes, or a number and a unit, such as 512MiB, 200GiB or 1.5GB")
    if size > _LARGEST:
        raise ValueError("a size is below 8192PiB")
    return size


def format_size(size: int) -> str:
    """The written form in the unit that gives the smallest whole number."""
    units = sorted(_BYTES.items(), key=lambda unit: (-unit[1], unit[0]))
    unit, length = next((u, n) for u, n in units if size % n == 0 and size >= n) if size else ("B", 1)
    return f"{size // length}{unit}"


def format_free_space(rule: FreeSpaceRule) -> str:
    """The written form, which ``parse_free_space`` reads again as the same rule."""
    percent, size = f"{rule.percent:.6g}%", format_size(rule.size)
    if rule.percent and rule.size:
        return f"max({percent}, {size})"
    return percent if rule.percent else size


def parse_free_space(written: object) -> FreeSpaceRule:
    """A size, a percentage, or ``max(5%, 5GiB)``. Raises ValueError with advice."""
    if isinstance(written, str):
        if _PERCENT.fullmatch(written):
            return FreeSpaceRule(0, float(written[:-1]))
        if found := _LARGER.fullmatch(written):
            one, other = parse_free_space(found[1]), parse_free_space(found[2])
            return FreeSpaceRule(max(one.size, other.size), max(one.percent, other.percent))
    try:
        return FreeSpaceRule(parse_size(written), 0.0)
    except ValueError:
        raise ValueError("not free space: write a size, a percentage, or the larger of both: max(5%, 5GiB)") from None


def _schema(pattern: str, *others: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "string", "pattern": f"^({pattern})$"}, *others]})


def at_least(least: float, write: Callable[[Any], str]) -> AfterValidator:
    """A bound that is told in the form in which ``write`` gives it to people."""

    def check(value: Any) -> Any:
        if value < least:
            raise ValueError(f"must be at least {write(least)}")
        return value

    return AfterValidator(check)


def at_most(most: float, write: Callable[[Any], str]) -> AfterValidator:
    """As ``at_least``, from above."""

    def check(value: Any) -> Any:
        if value > most:
            raise ValueError(f"must be at most {write(most)}")
        return value

    return AfterValidator(check)


def _off_or_duration(written: object) -> float | None:
    if written is None or written is False or written == "off":
        return None
    seconds = parse_duration(written)
    if seconds == 0:
        raise ValueError("must be at least 1ms, or off")
    return seconds


Duration = Annotated[
    float,
    PlainValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    _schema(_DURATION_TEXT, {"const": 0}),
]
"""Seconds."""

PositiveDuration = Annotated[Duration, at_least(0.001, format_duration)]

OptionalDuration = Annotated[
    float | None,
    PlainValidator(_off_or_duration),
    PlainSerializer(lambda seconds: "off" if seconds is None else format_duration(seconds), return_type=str),
    _schema(f"off|{_DURATION_TEXT}", {"const": False}),
]
"""Seconds, or None for ``off`` (which YAML 1.1 reads as false)."""

Size = Annotated[
    int,
    PlainValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    _schema(_SIZE_TEXT, {"type": "integer", "minimum": 0}),
]
"""Bytes."""

PositiveSize = Annotated[Size, at_least(1, format_size)]

Space = Annotated[
    FreeSpaceRule,
    PlainValidator(parse_free_space),
    PlainSerializer(format_free_space, return_type=str),
    _schema(rf"{_SIZE_TEXT}|{_PERCENT_TEXT}|max\(.+,.+\)", {"type": "integer", "minimum": 0}),
]
