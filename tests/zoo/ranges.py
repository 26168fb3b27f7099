"""The Range header as a registry reads it."""


def bounded(text: str) -> tuple[int, int | None]:
    """First and last byte of ``bytes=a-b`` or ``bytes=a-``; the last is None where the end is open."""
    first, _, last = text.removeprefix("bytes=").partition("-")
    return int(first or "0"), int(last) if last else None
