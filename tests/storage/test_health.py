"""What the store cannot do is told in words, and taken back when it can again."""

from collections.abc import Iterator
from contextlib import closing
from errno import ENOSPC, EROFS
from os import strerror
from pathlib import Path

import pytest

from proxy.core.errors import NoSpace, OwnFault, StoreFailed
from proxy.core.names import Digest
from proxy.storage.disk import DiskStore
from tests.storage.kit import put


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    with closing(DiskStore(tmp_path)) as opened:
        yield opened


def refusing(number: int) -> object:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, strerror(number))

    return refuse


@pytest.mark.parametrize(
    ("call", "number", "fault", "told"),
    [
        ("os.open", EROFS, StoreFailed, "cannot begin an ingest: Read-only file system"),
        ("os.pwrite", ENOSPC, NoSpace, "cannot write to the store: No space left on device"),
        ("os.fsync", ENOSPC, NoSpace, "cannot commit to the store: No space left on device"),
        ("os.rename", EROFS, StoreFailed, "cannot commit to the store: Read-only file system"),
    ],
)
def test_a_disk_that_takes_nothing_is_told_until_it_takes_something(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch, call: str, number: int, fault: type[OwnFault], told: str
) -> None:
    put(store, b"before")
    assert store.health.trouble == {}
    with monkeypatch.context() as patched:
        patched.setattr(call, refusing(number))
        with pytest.raises(fault):
            put(store, b"refused")
    assert store.health.trouble == {"store": told}
    put(store, b"after")
    assert store.health.trouble == {}


def test_a_disk_that_lets_nothing_go_is_told_apart(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = put(store, b"stays")
    with monkeypatch.context() as patched:
        patched.setattr("os.unlink", refusing(EROFS))
        with pytest.raises(StoreFailed):
            store.remove(digest)
    put(store, b"another")
    assert store.health.trouble == {"removal": f"cannot remove {digest}: Read-only file system"}
    store.remove(digest)
    assert store.health.trouble == {}


def test_what_is_wrong_with_one_content_is_no_trouble_of_the_store(store: DiskStore) -> None:
    ingest = store.begin()
    with pytest.raises(StoreFailed):
        ingest.commit(Digest.of(b"more"), 4)
    assert store.health.trouble == {}
