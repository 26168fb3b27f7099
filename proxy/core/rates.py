"""Rates as people write them: ``100MB``, ``100 MB/s``, ``20MiB/s``, ``1Gbit/s``, ``500 kbps``."""

import re

_RATE = re.compile(
    r"(?P<number>[0-9]{1,15}(\.[0-9]{1,9})?) ?(?P<prefix>([kKmMgGtT]i?)?)(?P<unit>bytes?|bits?|bps|B|b)?(/s|/sec|ps)?",
    re.ASCII,
)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_ADVICE = "not a rate: write bytes per second, such as 100MB/s, 20MiB/s or 1Gbit/s"


def parse_rate(written: str | int) -> int:
    """Bytes per second, at least 1. Raises ValueError with advice."""
    if isinstance(written, int):
        if written < 0:
            raise ValueError(_ADVICE)
        return max(1, written)
    found = _RATE.fullmatch(written.strip())
    if found is None:
        raise ValueError(_ADVICE)
    prefix, unit = found["prefix"], found["unit"] or ""
    if unit == "b" and prefix[:1].isupper():
        raise ValueError(f"{prefix}b may mean bits or bytes: write {prefix}B/s or {prefix}bit/s")
    base = 1024 if prefix.endswith("i") else 1000
    rate = float(found["number"]) * base ** _POWERS[prefix[:1].lower()]
    return max(1, int(rate / 8 if unit.startswith("bit") or unit == "bps" else rate))
