"""The homes and what their tests share. ``test_blob_store`` and ``test_catalog`` run on each; a new one enters here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy.core.names import Digest, Repository
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.contract import BlobReader, BlobStore, Catalog, Content
from proxy.storage.disk import DiskStore
from proxy.storage.memory import MemoryStore
from proxy.storage.memory_catalog import MemoryCatalog

NGINX = Repository("docker.io", "library/nginx")
REDIS = Repository("docker.io", "library/redis")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@contextmanager
def _disk(folder: Path) -> Iterator[BlobStore]:
    store = DiskStore(folder)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _memory(_: Path) -> Iterator[BlobStore]:
    yield MemoryStore()


STORES = {"disk": _disk, "memory": _memory}
CATALOGS: dict[str, Callable[[Path], Catalog]] = {"sqlite": SqliteCatalog, "memory": lambda _: MemoryCatalog()}


def put(store: BlobStore, content: bytes, algorithm: str = "sha256") -> Digest:
    digest = Digest.of(content, algorithm)
    ingest = store.begin()
    ingest.write(0, content)
    ingest.commit(digest, len(content))
    return digest


def take(reader: BlobReader) -> bytes:
    """All bytes, and the reader closed."""
    try:
        return reader.read(0, reader.size())
    finally:
        reader.close()


def blob(text: str, size: int = 1, used_at: float = 1.0) -> Content:
    return Content(Digest.of(text.encode()), size, "", 1.0, used_at)
