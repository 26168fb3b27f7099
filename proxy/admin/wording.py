"""How sizes, times and counts are written for people, in a terminal and on a page."""

from datetime import UTC, datetime

from proxy.config import format_size

_DIGEST = 19  # "sha256:" and twelve digits
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def short(digest: str) -> str:
    return digest[:_DIGEST]


def day(seconds: float) -> str:
    """A moment, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def lasting(seconds: float) -> str:
    """A length of time in its two largest units: ``3 h 12 min``."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for length, unit in _UNITS:
        if rest >= length or (unit == "s" and not parts):
            parts.append(f"{rest // length} {unit}")
            rest %= length
        elif parts:
            break
    return " ".join(parts[:2])


def size(count: float) -> str:
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f}{name}"
    return format_size(int(count))


def counted(count: int, noun: str) -> str:
    """``1 image``, ``1,200 images``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
