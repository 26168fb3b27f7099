"""Knowledge in dicts: for tests and for a cache without a disk. Durable until the process ends."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from proxy.core.graph import Membership, Node, Place
from proxy.core.names import Digest, Repository, Tag
from proxy.storage.contract import Content, Cursor, EvictionClass, HeldImage, TagRecord, Usage


class MemoryCatalog:
    """One loop, no thread: what is between two awaits is one step."""

    def __init__(self) -> None:
        self._content: dict[Digest, Content] = {}
        self._members: dict[Repository, dict[Digest, float | None]] = {}  # since when it is cached there, if it was
        self._tags: dict[tuple[Repository, Tag], TagRecord] = {}
        self._children: dict[Digest, set[Digest]] = {}
        self._released: set[Digest] = set()
        self._notes: dict[str, str] = {}
        self._pins: set[str] = set()

    async def held(self, repository: Repository, digest: Digest) -> Content | None:
        return self._content.get(digest) if digest in self._members.get(repository, ()) else None

    async def content(self, digest: Digest) -> Content | None:
        return self._content.get(digest)

    async def add(self, content: Content, repository: Repository | None, children: Sequence[Digest] = ()) -> None:
        known = self._content.get(content.digest, content)
        self._content[content.digest] = content._replace(
            created_at=known.created_at,
            used_at=max(known.used_at, content.used_at),
            upstream=known.upstream or content.upstream,
        )
        self._released.discard(content.digest)
        if repository is not None:
            since = self._members.setdefault(repository, {})
            if since.get(content.digest) is None:
                since[content.digest] = content.created_at
        if children:
            self._children.setdefault(content.digest, set()).update(children)

    async def allow(self, repository: Repository, digest: Digest) -> None:
        self._members.setdefault(repository, {}).setdefault(digest, None)

    async def allowed(self, repository: Repository, digest: Digest) -> bool:
        return digest in self._members.get(repository, ())

    async def forget(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            self._content.pop(digest, None)
            self._children.pop(digest, None)

    async def disallow(self, repository: Repository, digest: Digest) -> None:
        self._members.get(repository, {}).pop(digest, None)

    async def tag(self, repository: Repository, tag: Tag) -> TagRecord | None:
        return self._tags.get((repository, tag))

    async def set_tag(self, repository: Repository, tag: Tag, record: TagRecord) -> None:
        self._tags[repository, tag] = record

    async def drop_tag(self, repository: Repository, tag: Tag) -> None:
        self._tags.pop((repository, tag), None)

    async def touch(self, uses: Mapping[Digest, float]) -> None:
        for used, used_at in uses.items():
            indexes = self._parents(used) if used in self._content and self._content[used].media_type else []
            for digest in (used, *indexes):
                known = self._content.get(digest)
                if known is not None and used_at > known.used_at:
                    self._content[digest] = known._replace(used_at=used_at)

    async def usage(self) -> Usage:
        return _usage(self._content.values())

    async def usage_by_upstream(self) -> Mapping[str, Usage]:
        upstreams = {content.upstream for content in self._content.values()}
        return {name: _usage(each for each in self._content.values() if each.upstream == name) for name in upstreams}

    async def repositories(self, after: tuple[str, str] | None, limit: int) -> list[Repository]:
        found = (repository for repository, digests in self._members.items() if any(map(self._is_manifest, digests)))
        return sorted(repository for repository in found if after is None or repository > after)[:limit]

    async def between(self, first: str, last: str) -> list[Content]:
        return sorted(
            (content for digest, content in self._content.items() if first <= digest < last),
            key=lambda content: content.digest,
        )

    # ------------------------------------------------ letting go

    async def idle(
        self, eviction_class: EvictionClass, after: Cursor, limit: int, upstream: str | None = None
    ) -> list[Content]:
        found = (
            content
            for content in self._content.values()
            if (content.used_at, content.digest) > after
            and upstream in (None, content.upstream)
            and bool(content.media_type) is (eviction_class is EvictionClass.IMAGES)
            and not self._parents(content.digest)
            and content.subject not in self._content
        )
        return sorted(found, key=lambda content: (content.used_at, content.digest))[:limit]

    async def images(self, repository: Repository, after: str, limit: int) -> list[HeldImage]:
        members = self._members.get(repository, {})
        digests = sorted(digest for digest in members if digest > after and self._is_manifest(digest))
        return [self._image(repository, digest) for digest in digests[:limit]]

    def _image(self, repository: Repository, digest: Digest) -> HeldImage:
        content = self._content[digest]
        cached_at = self._members[repository][digest]
        return HeldImage(
            content,
            content.created_at if cached_at is None else cached_at,
            self._tags_of(repository, digest),
            tuple(sorted(filter(self._is_manifest, self._children.get(digest, ())))),
            sum(self._content[part].size for part in self._parts([digest])),
        )

    async def closure(self, digests: Sequence[Digest]) -> list[Node]:
        return [self._node(digest, digest in digests) for digest in self._parts(digests, with_referrers=True)]

    def _node(self, digest: Digest, asked: bool) -> Node:
        places = self._places(digest) if asked or self._is_manifest(digest) else ()
        content = self._content[digest]
        return Node(
            digest, content.size, bool(content.media_type), content.upstream, len(self._parents(digest)), places,
            tuple(sorted(self._children.get(digest, ()))), tuple(sorted(self._referrers(digest))),
        )  # fmt: skip

    def _places(self, digest: Digest) -> tuple[Place, ...]:
        return tuple(
            Place(
                repository,
                self._tags_of(repository, digest),
                frozenset(index for index in self._parents(digest) if index in members),
            )
            for repository, members in sorted(self._members.items())
            if digest in members
        )

    async def release(self, memberships: Sequence[Membership], freed: Sequence[Digest]) -> list[tuple[Repository, Tag]]:
        untagged = [
            (repository, tag) for repository, digest in memberships for tag in self._tags_of(repository, digest)
        ]
        for repository, digest in memberships:
            await self.disallow(repository, digest)
        for repository, tag in untagged:
            await self.drop_tag(repository, tag)
        self._released.update(digest for digest in freed if digest in self._content)
        await self.forget(freed)
        for members in self._members.values():
            for digest in freed:
                members.pop(digest, None)
        return untagged

    async def tombstones(self, limit: int) -> list[Digest]:
        return sorted(self._released)[:limit]

    async def left(self, digests: Sequence[Digest]) -> None:
        self._released.difference_update(digests)

    async def compact(self, size: int) -> int:
        return 0

    # ------------------------------------------------ notes

    async def note(self, name: str) -> str | None:
        return self._notes.get(name)

    async def write_note(self, name: str, text: str) -> None:
        self._notes[name] = text

    async def pins(self) -> list[str]:
        return sorted(self._pins)

    async def pin(self, pattern: str) -> None:
        self._pins.add(pattern)

    async def unpin(self, pattern: str) -> bool:
        known = pattern in self._pins
        self._pins.discard(pattern)
        return known

    # ------------------------------------------------

    async def backup(self) -> None:
        """Nothing outlives the process, so there is nothing to copy to."""

    async def close(self) -> None:
        """Nothing to give back."""

    def _is_manifest(self, digest: Digest) -> bool:
        return digest in self._content and bool(self._content[digest].media_type)

    def _tags_of(self, repository: Repository, digest: Digest) -> tuple[Tag, ...]:
        found = (tag for (name, tag), record in self._tags.items() if (name, record.digest) == (repository, digest))
        return tuple(sorted(found))

    def _parents(self, digest: Digest) -> list[Digest]:
        return [parent for parent, children in self._children.items() if digest in children]

    def _referrers(self, digest: Digest) -> Iterator[Digest]:
        return (content.digest for content in self._content.values() if content.subject == digest)

    def _parts(self, digests: Sequence[Digest], with_referrers: bool = False) -> set[Digest]:
        """These and what they reach, as far as it is held."""
        found: set[Digest] = set()
        work = list(digests)
        while work:
            digest = work.pop()
            if digest in found or digest not in self._content:
                continue
            found.add(digest)
            work += self._children.get(digest, ())
            if with_referrers:
                work += self._referrers(digest)
        return found


def _usage(contents: Iterable[Content]) -> Usage:
    sizes = [content.size for content in contents]
    return Usage(sum(sizes), len(sizes))
