"""The reader of archives: what honest writers make it reads as they do, and nothing else harms it."""

import contextlib
import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundles.refusal import BundleRefused
from proxy.bundles.tar import MemberKind, tar_members
from tests.bundles.cast import member


class Bytes:
    """As ``Flow``."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, count: int) -> bytes:
        assert 0 <= count <= 1 << 20, "nobody asks for what a stranger says"
        return self._file.read(count)

    def skip(self, count: int) -> None:
        assert count >= 0
        if self._file.tell() + count > len(self._file.getbuffer()):
            raise BundleRefused("cut")
        self._file.seek(count, io.SEEK_CUR)


def read(content: bytes) -> Iterator[tuple[str, MemberKind, bytes, str]]:
    for each in tar_members(Bytes(content)):
        body = b"".join(iter(lambda each=each: each.read(1000), b""))  # type: ignore[misc]  # at once
        yield each.name, each.kind, body, each.target


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_honest_writers_make_is_read_as_they_do(form: int) -> None:
    names = ["a", "blobs/sha256/" + "ab" * 32, "./c", "d" * 90 + "/" + "e" * 90]
    names += ["f" * 300 + "/ü"] if form != tarfile.USTAR_FORMAT else []
    steps = 60 if form != tarfile.USTAR_FORMAT else 6
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for number, name in enumerate(names):
            head = tarfile.TarInfo(name)
            head.size = 700 * number
            archive.addfile(head, io.BytesIO(b"x" * head.size))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../" * steps + "a"
        archive.addfile(link)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    found = list(read(out.getvalue()))
    assert [name for name, *_ in found] == [name.removeprefix("./") for name in names] + ["link", "folder/"]
    assert [len(body) for _, _, body, _ in found] == [*(700 * number for number in range(len(names))), 0, 0]
    assert found[-2][1:] == (MemberKind.LINK, b"", "../" * steps + "a")
    assert found[-1][1] is MemberKind.OTHER


def test_a_size_beyond_octal_is_read() -> None:
    head = tarfile.TarInfo("large")
    head.size = 9 << 30
    with pytest.raises(BundleRefused, match="cut: 9663676416 bytes"):
        list(read(head.tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(BundleRefused, match="cut: 9663676416 bytes"):
        list(read(head.tobuf(tarfile.PAX_FORMAT)))


ARCHIVE = b"".join(
    [
        member("first", b"1" * 600),
        tarfile.TarInfo("l" * 200).tobuf(tarfile.PAX_FORMAT),
        tarfile.TarInfo("g" * 200).tobuf(tarfile.GNU_FORMAT),
        member("last", b"2" * 100),
        bytes(1024),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(ARCHIVE) - 1), st.binary(min_size=1, max_size=12)), max_size=4), st.data())
def test_whatever_is_changed_in_one_it_is_read_or_refused(
    changes: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    changed = bytearray(ARCHIVE)
    for at, content in changes:
        changed[at : at + len(content)] = content
    if data.draw(st.booleans()):  # with sums that fit, so that more than the sum is looked at
        for at in range(0, len(changed) - 511, 512):
            changed[at + 148 : at + 156] = b" " * 8
            changed[at + 148 : at + 156] = b"%06o\0 " % sum(changed[at : at + 512])
    with contextlib.suppress(BundleRefused):
        assert sum(len(body) for _, _, body, _ in read(bytes(changed))) <= len(changed)
