"""What the tests of the first tier share."""

from proxy.core.names import Digest, Repository
from proxy.storage.contract import BlobReader, BlobStore, Catalog, Content, Member, MembershipRecord, Usage

NGINX = Repository("docker.io", "library/nginx")
REDIS = Repository("docker.io", "library/redis")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def put(store: BlobStore, content: bytes, algorithm: str = "sha256") -> Digest:
    digest = Digest.of(content, algorithm)
    ingest = store.begin()
    ingest.write(0, content)
    ingest.commit(digest, len(content))
    return digest


def take(reader: BlobReader) -> bytes:
    """All bytes, and the reader closed."""
    try:
        content = b""
        while chunk := reader.read(len(content), 1 << 16):
            content += chunk
        return content
    finally:
        reader.close()


def blob(text: str, size: int = 1, used_at: float = 1.0) -> Content:
    return Content(Digest.of(text.encode()), size, "", 1.0, used_at)


def manifest(text: str, used_at: float = 1.0, subject: Digest | None = None, kind: str = MANIFEST) -> Content:
    return blob(text, 10, used_at)._replace(media_type=kind, subject=subject)


def of(repository: Repository, content: Content) -> Member:
    """As upstream gave it, when it was first cached."""
    return Member(repository, MembershipRecord(content.media_type, content.created_at))


async def usage(catalog: Catalog) -> Usage:
    """Of all upstreams together."""
    found = (await catalog.contents.usage_by_upstream()).values()
    return Usage(sum(each.size for each in found), sum(each.entries for each in found))


async def add(catalog: Catalog, content: Content, repository: Repository, *children: Content) -> Content | None:
    """Fetched through that repository."""
    return await catalog.contents.add(content, [child.digest for child in children], of(repository, content))
