"""The one door for JSON that others wrote: bounded in all that costs memory or time, and refused where parsers differ
on what it says.

It is read in steps, since the parser of the standard library stops at nothing: four megabytes of ``{}`` hold the
interpreter for more than a second. RFC 8259 section 4 leaves the meaning of duplicate names open, and section 9 lets a
parser bound size, depth, numbers and strings.
"""

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Callable
from typing import Any, NamedTuple

from proxy.core.steps import Steps, at_once

DEEPEST = 32
"""Levels of arrays and objects. No manifest, token answer or policy comes near it."""
LONGEST_STRING = 512 << 10
"""Characters of a string as it is written, and blanks in a row: each is read in one step."""
LONGEST_NUMBER = 1000
"""Characters. Reading the digits of an integer takes time by the square of their number."""

_STEP = 64 << 10  # characters that are read in one step
_WEIGHT = 128  # characters that a value counts for besides its own, so that a step has at most 500
_BLANKS = " \t\n\r"
_BLANK = re.compile(rf"[{_BLANKS}]*")
_OPENING = frozenset("[{")
_LONG_STRING = f"a string of more than {LONGEST_STRING} characters"


class Bounds(NamedTuple):
    """The most that a document may hold."""

    size: int  # bytes
    values: int  # arrays, objects, strings, numbers and constants; names of members come with their values


SMALL = Bounds(64 << 10, 1_000)
"""For what is read at once, as tokens and errors are: a millisecond."""

MakeObject = Callable[[], dict[str, Any]]
"""Makes an empty object."""
Repeat = Callable[[Any, str], None]
"""Is told of an object and a name that it has already, before the value is replaced."""


class JsonRefused(ValueError):
    """Not JSON that can be read in one way only. The sentence quotes nothing of it."""


class JsonTooMuch(JsonRefused):
    """Beyond the bounds, whatever it says."""


def refuse_repeat(_: object, __: str) -> None:
    """Raises JsonRefused."""
    raise JsonRefused("a key stands twice")


def read_json(
    content: bytes, bounds: Bounds, make_object: MakeObject = dict, repeat: Repeat = refuse_repeat
) -> Steps[Any]:
    """The value. Raises JsonTooMuch for what is beyond ``bounds`` or deeper than ``DEEPEST``, and for strings and
    numbers that are too long; JsonRefused for what is not UTF-8 or not JSON, a byte order mark, NaN and Infinity, and
    where ``repeat`` does."""
    if len(content) > bounds.size:
        raise JsonTooMuch(f"more than {bounds.size} bytes")
    return (yield from _JsonReader(content, bounds.values, make_object, repeat).document())


def read_json_object(content: bytes, bounds: Bounds) -> Steps[dict[str, Any]]:
    """Raises JsonRefused for anything that is no object, and as ``read_json`` does."""
    value = yield from read_json(content, bounds)
    if not isinstance(value, dict):
        raise JsonRefused("not a JSON object")
    return value


def parse_json(
    content: bytes | str, bounds: Bounds, make_object: MakeObject = dict, repeat: Repeat = refuse_repeat
) -> Any:
    """As ``read_json``, at once."""
    try:
        raw = content.encode() if isinstance(content, str) else content
    except UnicodeEncodeError:
        raise JsonRefused("not UTF-8") from None
    return at_once(read_json(raw, bounds, make_object, repeat))


def parse_json_object(content: bytes | str, bounds: Bounds) -> dict[str, Any]:
    """Raises JsonRefused for anything that is no object, and as ``parse_json`` does."""
    value = parse_json(content, bounds)
    if not isinstance(value, dict):
        raise JsonRefused("not a JSON object")
    return value


def _integer(digits: str) -> int:
    return int(_short(digits))


def _real(digits: str) -> float:
    return float(_short(digits))


def _short(digits: str) -> str:
    if len(digits) > LONGEST_NUMBER:
        raise JsonTooMuch(f"a number of more than {LONGEST_NUMBER} characters")
    return digits


def _refuse_constant(name: str) -> None:
    raise JsonRefused(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_real, parse_constant=_refuse_constant)


class _JsonReader:
    """Reads front to back through a window of decoded text. Arrays and objects are taken apart here; strings, numbers
    and constants are the standard library's to read."""

    def __init__(self, content: bytes, values: int, make_object: MakeObject, repeat: Repeat) -> None:
        self._content = content
        self._decoded = 0  # bytes of it
        self._decoder = getincrementaldecoder("utf-8")()
        self._window = ""
        self._before = 0  # characters before the window
        self._at = 0  # in the window
        self._safe = -1  # where in the window the longest string may begin
        self._most = self._left = values
        self._make_object = make_object
        self._repeat = repeat
        self._pause_at = _STEP - _WEIGHT * values

    def document(self) -> Steps[Any]:
        char = self._next()
        if char == "\ufeff":
            raise JsonRefused("it begins with a byte order mark (BOM)")
        value = (yield from self._container(char, DEEPEST)) if char in _OPENING else self._scalar()
        if self._next():
            raise self._fault("Extra data")
        return value

    def _container(self, char: str, levels: int) -> Steps[Any]:
        if not levels:
            raise JsonTooMuch("nested too deeply")
        self._count()
        reading = self._array(levels - 1) if char == "[" else self._object(levels - 1)
        return (yield from reading)

    def _array(self, levels: int) -> Steps[list[Any]]:
        found: list[Any] = []
        char = self._next()
        if char == "]":
            return found
        while True:
            found.append((yield from self._container(char, levels)) if char in _OPENING else self._scalar())
            if self._is_due():
                yield
            char = self._next()
            if char == "]":
                return found
            if char != ",":
                raise self._fault("Expecting ',' delimiter")
            char = self._next()

    def _object(self, levels: int) -> Steps[dict[str, Any]]:
        found = self._make_object()
        char = self._next()
        if char == "}":
            return found
        while True:
            name = self._name(char)
            if name in found:
                self._repeat(found, name)
            char = self._next()
            found[name] = (yield from self._container(char, levels)) if char in _OPENING else self._scalar()
            if self._is_due():
                yield
            char = self._next()
            if char == "}":
                return found
            if char != ",":
                raise self._fault("Expecting ',' delimiter")
            char = self._next()

    def _name(self, char: str) -> str:
        """Of a member, up to the colon."""
        if char != '"':
            raise self._fault("Expecting property name enclosed in double quotes")
        name: str = self._read()
        if self._next() != ":":
            raise self._fault("Expecting ':' delimiter")
        return name

    def _scalar(self) -> Any:
        self._count()
        return self._read()

    def _read(self) -> Any:
        """The string, number or constant whose first character was passed."""
        if self._at - 1 > self._safe:
            self._widen()
        start = self._at - 1
        try:
            value, self._at = _DECODER.raw_decode(self._window, start)
        except json.JSONDecodeError as cause:
            if cause.msg.startswith("Unterminated") and self._decoded < len(self._content):
                raise JsonTooMuch(_LONG_STRING) from None
            self._at = cause.pos + 1
            raise self._fault(cause.msg) from None
        if self._at - start > LONGEST_STRING + 2:  # with its quotation marks
            raise JsonTooMuch(_LONG_STRING)
        return value

    def _next(self) -> str:
        """The next character that is no blank, which is passed; empty at the end."""
        char = self._window[self._at : self._at + 1]
        if not char or char in _BLANKS:
            char = self._behind_blanks()
        self._at += 1
        return char

    def _behind_blanks(self) -> str:
        if self._at > self._safe:
            self._widen()
        match = _BLANK.match(self._window, self._at)
        self._at = match.end() if match else self._at
        char = self._window[self._at : self._at + 1]
        if not char and self._decoded < len(self._content):
            raise JsonTooMuch(f"more than {LONGEST_STRING} blanks in a row")
        return char

    def _widen(self) -> None:
        """The window begins with the character passed last, and holds the longest string behind it, or all there is."""
        passed = max(self._at - 1, 0)
        window, content = self._window[passed:], self._content
        while len(window) < LONGEST_STRING + 3 and self._decoded < len(content):
            piece = content[self._decoded : self._decoded + LONGEST_STRING]
            self._decoded += len(piece)
            try:
                window += self._decoder.decode(piece, self._decoded == len(content))
            except UnicodeDecodeError:
                raise JsonRefused("not UTF-8") from None
        self._window, self._at, self._before = window, self._at - passed, self._before + passed
        ended = self._decoded == len(content)
        self._safe = len(content) + 1 if ended else len(window) - LONGEST_STRING - 3

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise JsonTooMuch(f"more than {self._most} values")

    def _is_due(self) -> bool:
        """Is it time for a pause?"""
        done = self._before + self._at - _WEIGHT * self._left
        if done < self._pause_at:
            return False
        self._pause_at = done + _STEP
        return True

    def _fault(self, what: str) -> JsonRefused:
        """With the place of the character passed last."""
        place = max(self._at - 1, 0)
        if self._before:
            return JsonRefused(f"{what}: character {self._before + place}")
        return JsonRefused(str(json.JSONDecodeError(what, self._window, place)))
