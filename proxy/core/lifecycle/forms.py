"""One JSON object of a policy under reading: members are taken by name and type, what is wrong is noted, not raised.

The reasons are worded as those of ECR, whose validator is a JSON Schema (draft 4) one.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeVar

from proxy.core.lifecycle.documents import Members, plain, shown, type_name

Note = Callable[[str, str], None]
"""Takes the field and the reason."""

Choice = TypeVar("Choice", bound=StrEnum)


def wrong_type(value: object, allowed: str) -> str:
    return f'instance type ({type_name(value)}) does not match any allowed primitive type (allowed: ["{allowed}"])'


class Form:
    """A member that is absent or wrong is None; ``given`` tells the two apart."""

    def __init__(self, value: object, path: str, note: Note) -> None:
        self._members = value if isinstance(value, Members) else Members()
        self._is_object = isinstance(value, Members)
        self._path = path
        self._note = note
        if not self._is_object:
            note(path, wrong_type(value, "object"))
        for name in self._members.repeated:
            self.note(plain(name), "property is given more than once")

    def allow(self, required: Sequence[str], optional: Sequence[str] = ()) -> None:
        """Notes the names that are missing and the names that no policy has."""
        if not self._is_object:
            return
        for name in required:
            if name not in self._members:
                self.note(name, f'object has missing required properties (["{name}"])')
        for name in self._members:
            if name not in (*required, *optional):
                reason = f"object instance has properties which are not allowed by the schema: [{shown(name)}]"
                self.note(plain(name), reason)

    def section(self, name: str, required: Sequence[str], optional: Sequence[str] = ()) -> "Form":
        """The object below ``name``; an empty one where it is missing."""
        if not self.given(name):
            return Form(Members(), name, self.note)
        section = Form(self._members[name], name, self.note)
        section.allow(required, optional)
        return section

    def given(self, name: str) -> bool:
        return name in self._members

    def member(self, name: str) -> object:
        return self._members.get(name)

    def note(self, name: str, reason: str) -> None:
        self._note(f"{self._path}.{name}" if self._path else name, reason)

    def positive(self, name: str) -> int | None:
        """An integer from 1."""
        value = self._members.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            if value >= 1:
                return value
            self.note(name, f"numeric instance is lower than the required minimum (minimum: 1, found: {shown(value)})")
        elif name in self._members:
            self.note(name, wrong_type(value, "integer"))
        return None

    def text(self, name: str) -> str | None:
        value = self._members.get(name)
        if isinstance(value, str):
            return value
        if name in self._members:
            self.note(name, wrong_type(value, "string"))
        return None

    def choice(self, name: str, choices: Sequence[Choice]) -> Choice | None:
        value = self.text(name)
        if value is None:
            return None
        for choice in choices:
            if choice == value:
                return choice
        possible = ",".join(f'"{choice}"' for choice in choices)
        self.note(name, f"instance value ({shown(value)}) not found in enum (possible values: [{possible}])")
        return None

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of one string or more."""
        value = self._members.get(name)
        if not isinstance(value, list):
            if name in self._members:
                self.note(name, wrong_type(value, "array"))
            return None
        if not value:
            self.note(name, "array is too short: must have at least 1 elements but instance has 0 elements")
        for position, entry in enumerate(value):
            if not isinstance(entry, str):
                self.note(f"{name}[{position}]", wrong_type(entry, "string"))
        texts = tuple(entry for entry in value if isinstance(entry, str))
        return texts if texts and len(texts) == len(value) else None
