"""A tar archive, read front to back by somebody who believes nothing of it.

Nothing is ever unpacked: a member is a name, a size and bytes. Headers are bounded before they are read, which the
standard library's reader does not do: a pax header may announce any size there. Format: POSIX.1-2017 pax, "ustar
Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from proxy.bundles.refusal import BundleRefused

BLOCK = 512
_LONGEST_EXTENSION = 64 << 10  # bytes of one extended header
_MOST_EXTENSIONS = 4  # of one member
_MOST_MEMBERS = 200_000
_LARGEST = 1 << 50  # bytes of a member; nothing is reserved by it


class Flow(Protocol):
    """Bytes from front to back."""

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes, none at the end. Raises BundleRefused."""

    def skip(self, count: int) -> None:
        """Raises BundleRefused where there are not so many."""


class MemberKind(Enum):
    """As far as it matters to somebody who unpacks nothing."""

    FILE = "file"
    LINK = "link"  # of either kind; never followed outside the archive
    OTHER = "other"


@dataclass(slots=True)
class TarMember:
    """Good until the next one is asked for."""

    name: str
    size: int  # bytes that can be read
    kind: MemberKind
    target: str  # of a link, as it is written
    _flow: Flow
    _left: int

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes, none at the end. Raises BundleRefused where the archive ends first."""
        wanted = min(count, self._left)
        if wanted <= 0:
            return b""
        found = self._flow.read(wanted)
        if not found:
            raise BundleRefused(f"the archive is cut: {self._left} bytes of a member are missing")
        self._left -= len(found)
        return found

    def pass_over(self) -> None:
        """What is left of it. Raises BundleRefused where the archive ends first."""
        self._flow.skip(self._left)
        self._left = 0


class _Extension(NamedTuple):
    """What extended headers say of the member behind them."""

    name: str | None = None
    target: str | None = None
    size: int | None = None
    sparse: bool = False


def tar_members(flow: Flow) -> Iterator[TarMember]:
    """In their order. Raises BundleRefused where the archive cannot be read further: what came before is good."""
    extension, extensions = _Extension(), 0
    for _ in range(_MOST_MEMBERS):
        header = _whole(flow, BLOCK)
        if not header.strip(b"\0"):
            return
        _check(header)
        flag, size = header[156:157], _number(header[124:136])
        if flag in b"xgLK":
            extensions += 1
            if extensions > _MOST_EXTENSIONS or size > _LONGEST_EXTENSION:
                raise BundleRefused("the archive has a header of more than 64 KiB, or too many of them")
            extension = _extended(extension, flag, _padded(flow, size))
            continue
        member = _member(flow, header, size, extension)
        extension, extensions = _Extension(), 0
        yield member
        member.pass_over()
        flow.skip(-member.size % BLOCK)
    raise BundleRefused(f"the archive has more than {_MOST_MEMBERS} members")


def _member(flow: Flow, header: bytes, size: int, extension: _Extension) -> TarMember:
    flag = header[156:157]
    if flag == b"S":
        raise BundleRefused("the archive has sparse members")
    kind = _kind(flag)
    size = extension.size if extension.size is not None else size
    if kind is not MemberKind.FILE and flag not in b"567":
        size = 0  # a header alone, whatever it says (POSIX: "linkname", chksum and size of links and devices)
    if extension.sparse:
        kind = MemberKind.OTHER
    prefix = _text(header[345:500]) if header[257:262] == b"ustar" and header[263:265] == b"00" else ""
    name = extension.name if extension.name is not None else "/".join(filter(None, (prefix, _text(header[:100]))))
    target = extension.target if extension.target is not None else _text(header[157:257])
    return TarMember(name.removeprefix("./"), size, kind, target, flow, size)


def _kind(flag: bytes) -> MemberKind:
    if flag in (b"0", b"\0", b"7"):
        return MemberKind.FILE
    return MemberKind.LINK if flag in (b"1", b"2") else MemberKind.OTHER


def _extended(known: _Extension, flag: bytes, content: bytes) -> _Extension:
    if flag == b"g":
        return known  # of all members: nothing that is read here
    if flag == b"L":
        return known._replace(name=_text(content))
    if flag == b"K":
        return known._replace(target=_text(content))
    for key, value in _pax(content):
        if key == "path":
            known = known._replace(name=value)
        elif key == "linkpath":
            known = known._replace(target=value)
        elif key == "size":
            known = known._replace(size=_decimal(value))
        elif key.startswith("GNU.sparse."):
            known = known._replace(sparse=True)
    return known


def _pax(content: bytes) -> Iterator[tuple[str, str]]:
    """Records of ``LENGTH KEY=VALUE`` and a line's end."""
    while content.strip(b"\0"):
        digits, space, _ = content.partition(b" ")
        length = _decimal(digits.decode("ascii", "replace")) if len(digits) < 10 else 0
        record = content[len(digits) + 1 : length]
        key, equals, value = record.partition(b"=")
        if not (space and equals and record.endswith(b"\n") and length <= len(content)):
            raise BundleRefused("the archive has an extended header that is none")
        yield key.decode(errors="replace"), value[:-1].decode(errors="replace")
        content = content[length:]


def _check(header: bytes) -> None:
    """The sum of all bytes, with spaces in place of itself."""
    said = _number(header[148:156])
    if said != sum(header[:148]) + sum(header[156:]) + 8 * ord(" "):
        raise BundleRefused("not a tar archive, or one that is damaged here")


def _number(field: bytes) -> int:
    """Octal, or with the first bit set the rest as a binary number (GNU)."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:]) if field[0] == 0x80 else -1
    else:
        digits = field.strip(b" \0")
        value = int(digits, 8) if digits and not digits.strip(b"01234567") else 0 if not digits else -1
    return _bounded(value)


def _decimal(text: str) -> int:
    return _bounded(int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1)


def _bounded(value: int) -> int:
    if not 0 <= value <= _LARGEST:
        raise BundleRefused("the archive has a member of no possible size")
    return value


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="replace")


def _padded(flow: Flow, size: int) -> bytes:
    content = _whole(flow, size)
    flow.skip(-size % BLOCK)
    return content


def _whole(flow: Flow, count: int) -> bytes:
    """Raises BundleRefused where there are not so many."""
    found = bytearray()
    while len(found) < count:
        piece = flow.read(count - len(found))
        if not piece:
            if not found and count == BLOCK:
                return bytes(BLOCK)  # archives without their two empty blocks are common
            raise BundleRefused("the archive is cut")
        found += piece
    return bytes(found)
