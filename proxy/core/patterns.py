"""Patterns over content: ``REGISTRY/REPOSITORY``, ``REGISTRY/REPOSITORY:TAG`` or ``REGISTRY/REPOSITORY@DIGEST``.

A star stands for any run of characters, slashes included, and a question mark for exactly one.
"""

from collections.abc import Collection
from typing import NamedTuple, Self


def fits(pattern: str, text: str) -> bool:
    """Case counts. Never slower than pattern times text, whatever the pattern."""
    at, star, mark = 0, -1, 0
    place = 0
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            at, place = at + 1, place + 1
        elif star >= 0:
            mark += 1
            at, place = star + 1, mark
        else:
            return False
    return not pattern[at:].strip("*")


class ContentPattern(NamedTuple):
    """Which content is meant. Without tag and digest: all of the repositories."""

    repository: str  # over ``REGISTRY/REPOSITORY``
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, written: str) -> Self:
        """Whatever is written means something; a colon before the last slash belongs to a port."""
        names, at, digest = written.partition("@")
        path, slash, last = names.rpartition("/")
        name, colon, tag = last.partition(":")
        return cls(f"{path}{slash}{name}", tag if colon else None, digest if at else None)

    def covers(self, repository: str, tags: Collection[str], digest: str) -> bool:
        """Content of one repository, with the tags that it has there."""
        if not fits(self.repository, repository):
            return False
        if self.digest is not None and not fits(self.digest, digest):
            return False
        return self.tag is None or any(fits(self.tag, tag) for tag in tags)

    def __str__(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        return f"{self.repository}{tag}{'' if self.digest is None else f'@{self.digest}'}"
