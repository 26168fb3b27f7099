"""The disk changes under us, while we run or are down: wrong bytes are never served, lost ones are fetched."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.core.names import Digest
from tests.cast import FaultUpstream, roles
from tests.scenarios.house import APP, House, MiB, blob_path, manifest_path
from tests.scenarios.invariants import fetches

Bytes = Callable[[int], bytes]
SIZE = MiB + 3


def _file(house: House, digest: Digest) -> Path:
    return house.folder / "blobs" / digest.algorithm / digest.encoded[:2] / digest.encoded


def _delete(file: Path) -> None:
    file.unlink()


def _truncate(file: Path) -> None:
    os.truncate(file, SIZE - 1)


def _empty(file: Path) -> None:
    os.truncate(file, 0)


def _change(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(SIZE // 2)
        byte = opened.read(1)[0]
        opened.seek(SIZE // 2)
        opened.write(bytes([byte ^ 1]))


def _link(file: Path) -> None:
    secret = file.parents[4] / "secret"
    secret.write_bytes(bytes(SIZE))
    file.unlink()
    file.symlink_to(secret)


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "x").write_bytes(b"x")


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


CHANGES = [_delete, _truncate, _empty, _change, _link, _folder, _pipe]


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "down"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_blob_whose_file_was_changed_is_fetched_again(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, change: Callable[[Path], None], restarted: bool
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    await house.get(blob_path(digest))
    await house.quiet()
    if restarted:
        await house.stop()
        change(_file(house, digest))
        await house.start()
    else:
        change(_file(house, digest))
    reply = await house.get(blob_path(digest))
    assert (reply.status, reply.body) == (200, blob)
    assert reply.headers["cache-status"] == "entrepot; fwd=miss; stored"
    assert fetches(upstream, digest) == 2
    await house.quiet()
    assert (await house.get(blob_path(digest))).headers["cache-status"] == "entrepot; hit"


async def test_a_touched_file_with_good_bytes_is_believed(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    await house.get(blob_path(digest))
    await house.quiet()
    os.utime(_file(house, digest))
    reply = await house.get(blob_path(digest))
    assert (reply.body, reply.headers["cache-status"]) == (blob, "entrepot; hit")


@pytest.mark.parametrize("change", [_delete, _empty], ids=lambda change: change.__name__)
async def test_a_manifest_whose_file_was_changed_while_we_were_down_is_fetched_again(
    house: House, upstream: FaultUpstream, change: Callable[[Path], None]
) -> None:
    digest = upstream.manifest(APP, "v1", raw := b'{"schemaVersion":2,"config":{},"layers":[]}')
    await house.get(manifest_path("v1"))
    await house.stop()
    change(_file(house, digest))
    await house.start()
    assert (await house.get(manifest_path("v1"))).body == raw
    await house.quiet()


async def test_what_is_left_in_the_ingest_folder_is_swept_at_the_start(house: House) -> None:
    await house.stop()
    (house.folder / "ingest" / "0123456789abcdef").write_bytes(bytes(5000))
    await house.start()
    await house.quiet()  # the folder is empty


async def test_foreign_files_among_the_blobs_are_never_served(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = Digest.of(blob := some_bytes(MiB))
    await house.stop()
    _file(house, digest).parent.mkdir(parents=True, exist_ok=True)
    _file(house, digest).write_bytes(bytes(MiB))  # a lie under a good name
    await house.start()
    assert (await house.get(blob_path(digest))).status == 404
    upstream.blob(APP, blob)
    house.clock.advance(11)
    assert (await house.get(blob_path(digest))).body == blob


# ------------------------------------------------------------ the catalog


@pytest.mark.parametrize("damage", ["deleted", "garbage"])
async def test_with_a_lost_catalog_its_copy_serves_with_upstream_down(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, damage: str
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.manifest(APP, "v1", raw := b'{"schemaVersion":2,"config":{},"layers":[]}')
    await house.get(blob_path(digest))
    await house.get(manifest_path("v1"))
    await house.quiet()
    await house.stop()  # leaves a copy
    _damage(house.folder, damage)
    upstream.always("blob", roles.closes_unanswered)
    upstream.always("manifest", roles.closes_unanswered)
    await house.start()
    assert (await house.get(blob_path(digest))).body == blob
    assert (await house.get(manifest_path("v1"))).body == raw


@pytest.mark.parametrize("damage", ["deleted", "garbage"])
async def test_with_the_catalog_and_its_copy_lost_bytes_cost_one_check(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, damage: str
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    await house.get(blob_path(digest))
    await house.quiet()
    await house.stop()
    _damage(house.folder, damage)
    (house.folder / "catalog.backup").unlink()
    await house.start()
    while not await house.catalog.contents.usage_by_upstream():
        await asyncio.sleep(0.01)
    reply = await house.get(blob_path(digest))
    assert (reply.body, reply.headers["cache-status"]) == (blob, "entrepot; hit")
    first, check = upstream.requests("blob")
    assert (first.sent, check.sent) == (SIZE, 1)


def _damage(folder: Path, damage: str) -> None:
    for ending in ("-wal", "-shm"):
        (folder / f"catalog{ending}").unlink(missing_ok=True)
    if damage == "deleted":
        (folder / "catalog").unlink()
    else:
        (folder / "catalog").write_bytes(os.urandom(100_000))
