"""Bundles of people who mean harm, each beside an honest image. ``evil`` names what must not come of it."""

import gzip
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from proxy.core.names import Digest
from tests.bundles.cast import Parcel, headed, member
from tests.e2e.images import MANIFEST

Make = Callable[[Parcel, Path], Path | bytes]
"""Gives an archive, or the path of what it has made."""

HEX = "ab" * 32
BLOB = f"blobs/sha256/{HEX}"


class Hostile(NamedTuple):
    what: str
    make: Make
    good: bool = True  # whether the honest image beside it is taken


def _tar(*more: bytes) -> Make:
    return lambda parcel, folder: parcel.tar(*more)


def _pax(records: bytes, **fields: Any) -> bytes:
    return member("pax", records, type=b"x", **fields)


def _huge(kind: bytes, size: int) -> bytes:
    """An extended header that announces more than is there."""
    return member("././@LongLink", type=kind, size=size)


def _wanting(tampered: Callable[[Parcel], bytes]) -> Make:
    """An image ``evil`` whose layer is given by one raw member."""

    def make(parcel: Parcel, folder: Path) -> bytes:
        parcel.tag(parcel.evil, parcel.image(parcel.evil_layer))
        del parcel.blobs[Digest.of(parcel.evil_layer)]
        return parcel.tar(tampered(parcel))

    return make


def _manifest(raw: bytes) -> Make:
    def make(parcel: Parcel, folder: Path) -> bytes:
        parcel.tag(parcel.evil, parcel.put(raw, MANIFEST))
        return parcel.tar()

    return make


def _named(name: str) -> Make:
    def make(parcel: Parcel, folder: Path) -> bytes:
        parcel.tag(name, parcel.image(parcel.evil_layer))
        return parcel.tar()

    return make


def _index(document: bytes) -> Make:
    def make(parcel: Parcel, folder: Path) -> bytes:
        parcel.index_json = lambda: document  # type: ignore[method-assign]  # what it says of itself
        return parcel.tar()

    return make


def _docker(layer: str, *more: bytes) -> Make:
    """A tarball of ``docker save``, in which nothing is honest."""

    def make(parcel: Parcel, folder: Path) -> bytes:
        manifest = [{"Config": "config.json", "RepoTags": [parcel.evil], "Layers": [layer]}]
        members = member("manifest.json", json.dumps(manifest).encode()), member("config.json", b"{}")
        return b"".join([*members, *more, bytes(1024)])

    return make


def _gzip_bomb(parcel: Parcel, folder: Path) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = member(BLOB, size=8 << 30)
    return b"".join(
        [
            packer.compress(parcel.tar()[:-1024] + head),
            *(packer.compress(bytes(1 << 20)) for _ in range(300)),
            packer.flush(),
        ]
    )


def _zstd_bomb(parcel: Parcel, folder: Path) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    head = member(BLOB, size=8 << 30)
    return b"".join(
        [
            packer.compress(parcel.tar()[:-1024] + head),
            *(packer.compress(bytes(1 << 20)) for _ in range(300)),
            packer.flush(),
        ]
    )


def _zstd_window(parcel: Parcel, folder: Path) -> bytes:
    """RFC 8878 section 3.1.1.1.2: a window descriptor of 2^41 bytes."""
    return b"\x28\xb5\x2f\xfd" + bytes([0x00, 0xF8]) + bytes(64)


def _cut_gzip(parcel: Parcel, folder: Path) -> bytes:
    return gzip.compress(parcel.tar(member(BLOB, os.urandom(1 << 20))), 0)[: -(1 << 19)]


def _wrong_checksum(parcel: Parcel, folder: Path) -> bytes:
    packed = bytearray(gzip.compress(parcel.tar(member(BLOB, b"x" * 5000))))
    packed[-8:] = bytes(8)
    return bytes(packed)


def _holes(parcel: Parcel, folder: Path) -> Path:
    path = folder / "holes.tar"
    with path.open("wb") as file:
        file.write(parcel.tar()[:-1024] + member(BLOB, size=40 << 30))
        file.truncate(40 << 30)
    return path


def _linked_folder(parcel: Parcel, folder: Path) -> Path:
    """All blobs lie behind a link."""
    elsewhere = parcel.folder(folder / "elsewhere")
    layout = folder / "layout"
    layout.mkdir()
    for name in ("oci-layout", "index.json"):
        (layout / name).write_bytes((elsewhere / name).read_bytes())
    (layout / "blobs").symlink_to(elsewhere / "blobs")
    return layout


def _linked_file(parcel: Parcel, folder: Path) -> Path:
    """A file of this machine, by a digest that is known of it."""
    (folder / "secret").write_bytes(b"a secret of this machine")
    parcel.tag(parcel.evil, parcel.image(b"a secret of this machine"))
    layout = parcel.folder(folder / "layout")
    place = layout / "blobs" / Digest.of(b"a secret of this machine").replace(":", "/")
    place.unlink()
    place.symlink_to(folder / "secret")
    return layout


def _pipe_for_an_index(parcel: Parcel, folder: Path) -> Path:
    layout = parcel.folder(folder / "layout")
    (layout / "index.json").unlink()
    os.mkfifo(layout / "index.json")
    return layout


def _pipe_for_a_blob(parcel: Parcel, folder: Path) -> Path:
    layout = parcel.folder(folder / "layout")
    os.mkfifo(layout / BLOB)
    return layout


def _hollow_blob(parcel: Parcel, folder: Path) -> Path:
    layout = parcel.folder(folder / "layout")
    with (layout / BLOB).open("wb") as file:
        file.truncate(40 << 30)
    return layout


def _pipe(parcel: Parcel, folder: Path) -> Path:
    os.mkfifo(folder / "pipe.tar")
    return folder / "pipe.tar"


def _nothing_of_an_index(parcel: Parcel, folder: Path) -> bytes:
    absent = {"mediaType": MANIFEST, "digest": f"sha256:{HEX}", "size": 5}
    parcel.tag(parcel.evil, parcel.index([absent]))
    return parcel.tar()


def _indexes_within(parcel: Parcel, folder: Path) -> bytes:
    descriptor = parcel.image(parcel.evil_layer)
    for _ in range(50):
        descriptor = parcel.index([descriptor])
    parcel.tag(parcel.evil, descriptor)
    return parcel.tar()


_CONFIG = json.dumps({"mediaType": MANIFEST, "schemaVersion": 2, "config": {}, "layers": []}).encode()
_PLAIN = member("x")

HOSTILE = [
    Hostile("a name above", _tar(member("../../evil", b"evil"))),
    Hostile("a name from the root", _tar(member("/tmp/evil", b"evil"))),
    Hostile("a blob's name with steps up", _tar(member(f"blobs/sha256/../../{HEX}", b"evil"))),
    Hostile("a link for a blob", _wanting(lambda p: member(p.evil_place, type=b"2", linkname="/etc/passwd"))),
    Hostile("a hard link for a blob", _wanting(lambda p: member(p.evil_place, type=b"1", linkname="/etc/passwd"))),
    Hostile("a character device", _wanting(lambda p: member(p.evil_place, type=b"3", devmajor=1, devminor=5))),
    Hostile("a block device", _wanting(lambda p: member(p.evil_place, type=b"4", devmajor=8))),
    Hostile("a pipe in an archive", _wanting(lambda p: member(p.evil_place, type=b"6"))),
    Hostile("a folder for a blob", _wanting(lambda p: member(p.evil_place, type=b"5"))),
    Hostile("a GNU sparse member", _tar(headed(member(BLOB, b"x" * 512), 156, b"S"))),
    Hostile("a pax sparse member", _wanting(lambda p: _pax(b"22 GNU.sparse.major=1\n") + member(p.evil_place, b"x"))),
    Hostile("a pax header without end", _tar(_huge(b"x", 8 << 30))),
    Hostile("a global header without end", _tar(_huge(b"g", 8 << 30))),
    Hostile("a name without end", _tar(_huge(b"L", 1 << 30))),
    Hostile("headers on headers", _tar(_pax(b"10 path=x\n") * 5000)),
    Hostile("a pax record of the wrong length", _tar(_pax(b"99 path=x\n"))),
    Hostile("a pax size of many digits", _tar(_pax(b"80 size=" + b"9" * 71 + b"\n"), _PLAIN)),
    Hostile("a pax size that swallows the rest", _tar(_pax(b"21 size=999999999999\n"), member(BLOB, b"x"))),
    Hostile("a negative size", _tar(headed(_PLAIN, 124, b"\xff" * 12))),
    Hostile("a size of 2^80", _tar(headed(_PLAIN, 124, b"\x80\x00\x01" + bytes(9)))),
    Hostile("a size that is no number", _tar(headed(_PLAIN, 124, b"9z9z9z9z9z9z"))),
    Hostile("a wrong sum of a header", _tar(_PLAIN[:100] + b"\xff" + _PLAIN[101:])),
    Hostile("an end within a member", lambda parcel, folder: parcel.tar()[:-1024] + member(BLOB, size=1 << 20)),
    Hostile("an end within a header", lambda parcel, folder: parcel.tar()[:-1024] + _PLAIN[:200]),
    Hostile("a gzip bomb", _gzip_bomb),
    Hostile("a zstd bomb", _zstd_bomb),
    Hostile("a zstd frame that wants all memory", _zstd_window, good=False),
    Hostile("a gzip file that is cut", _cut_gzip),
    Hostile("a gzip file with a wrong sum", _wrong_checksum),
    Hostile("holes for an archive", _holes, good=False),
    Hostile("bytes of another digest", _wanting(lambda p: member(p.evil_place, b"the layer of angel"))),
    Hostile("a layer that is not there", _wanting(lambda _: b"")),
    Hostile("a digest in capitals", _wanting(lambda p: member(p.evil_place.upper(), p.evil_layer))),
    Hostile("a short digest", _wanting(lambda p: member(p.evil_place[:-2], p.evil_layer))),
    Hostile("an index and an image at once", _manifest(b'{"manifests":[],' + _CONFIG[1:])),
    Hostile("a key twice", _manifest(b'{"layers":[],' + _CONFIG[1:])),
    Hostile("a manifest nested deeply", _manifest(b'{"layers":' + b"[" * 100_000 + b"]" * 100_000 + b"}")),
    Hostile("a manifest of three megabytes of nothing", _manifest(b'{"layers":[' + b"{}," * 1_000_000 + b"{}]}")),
    Hostile("what is no manifest", _manifest(b"MZ\x90\0")),
    Hostile("an index of nothing that is there", _nothing_of_an_index),
    Hostile("indexes within indexes", _indexes_within),
    Hostile("a tag with steps up", _named("docker.io/evil/app:../../x")),
    Hostile("a repository with steps up", _named("docker.io/../evil:v1")),
    Hostile("a terminal's order in a name", _named("docker.io/evil/\x1b[2Japp:v1")),
    Hostile("a registry that is not configured", _named("evil.example.com/evil/app:v1")),
    Hostile("two indexes", _tar(member("index.json", b"{}"))),
    Hostile("an index that is no JSON", _index(b"\xff" * 100), good=False),
    Hostile("an index of a foreign digest", _index(b'{"manifests":[{"digest":"md5:../../x"}]}'), good=False),
    Hostile("an index of endless size", _tar(member("entrepot.json", size=1 << 40))),
    Hostile("a list that is none", _tar(member("entrepot.json", b'{"format":"entrepot bundle 1"}')), good=False),
    Hostile("a layer of this machine", _docker("../../../etc/passwd"), good=False),
    Hostile(
        "a link to this machine",
        _docker("l/layer.tar", member("l/layer.tar", type=b"2", linkname="../../../etc/passwd")),
        good=False,
    ),
    Hostile("links in a circle", _docker("a.tar", member("a.tar", type=b"2", linkname="a.tar")), good=False),
    Hostile("a folder behind a link", _linked_folder, good=False),
    Hostile("a file of this machine behind a link", _linked_file),
    Hostile("a pipe for an index", _pipe_for_an_index, good=False),
    Hostile("a pipe for a blob", _pipe_for_a_blob),
    Hostile("a pipe for an archive", _pipe, good=False),
    Hostile("holes for a blob", _hollow_blob),
]
