"""What reaches what, and what goes when images leave. A pure decision over the neighbourhood of what is to leave.

A repository's tags and its manifests hold on to content: tags → manifests → children of an index, config, layers;
a subject → its referrers. An image leaves a repository: its membership there ends, and with it those of the
children of an index that have no tag and no other index there, and those of its referrers. Bytes are freed when nothing
reaches them any more: a manifest without a membership and without a held index, a blob without a held manifest.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.core.names import Digest, Repository, Tag


class Membership(NamedTuple):
    """The membership of a manifest in a repository."""

    repository: Repository
    digest: Digest


class Place(NamedTuple):
    """What holds on to a manifest in one repository."""

    repository: Repository
    tags: tuple[Tag, ...] = ()
    indexes: frozenset[Digest] = frozenset()  # held manifests of the repository that refer to it


class Node(NamedTuple):
    """Something held."""

    digest: Digest
    size: int  # bytes
    is_manifest: bool
    upstream: str = ""  # the bytes count to its budget
    parents: int = 0  # held manifests that refer to it, of whatever repository
    places: tuple[Place, ...] = ()  # of a manifest, or of a blob that was asked about
    children: tuple[Digest, ...] = ()  # all that it refers to, held or not
    referrers: tuple[Digest, ...] = ()  # held manifests of which it is the subject

    def memberships(self) -> Iterator[Membership]:
        return (Membership(place.repository, self.digest) for place in self.places)


Keeps = Callable[[Node, Place], bool]
"""Whether a pin holds on to the content in that place."""
InUse = Callable[[Digest], bool]
"""Whether content is being read or is arriving."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What leaves together."""

    memberships: frozenset[Membership] = frozenset()
    freed: tuple[Node, ...] = ()

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(node.size for node in self.freed)


class Graph:
    """Some images and all around them: every held descendant and referrer of an asked node must be there."""

    def __init__(self, nodes: Iterable[Node], keeps: Keeps, in_use: InUse) -> None:
        self._nodes = {node.digest: node for node in nodes}
        self._keeps = keeps
        self._in_use = in_use

    def expire(
        self, memberships: Iterable[Membership], before: "Removed | None" = None
    ) -> tuple[Removal, list[Membership]]:
        """All that leaves when these images leave their repositories, besides what left ``before``; and those that
        stay: pinned, in use, or children of an index that stays."""
        removed = Removed() if before is None else before
        trials, stays = [], []
        for membership in sorted(memberships, key=self._is_child):  # a child can go only behind its index
            if membership in removed.memberships:
                continue
            trial = self._without(removed, [membership], [])
            if (
                membership not in trial.memberships
                or self._is_child(membership, removed.memberships)
                or self._is_used(trial)
            ):
                stays.append(membership)
            else:
                removed.take(trial)
                trials.append(trial)
        return sum_of(trials), stays

    def evict(self, order: Sequence[Digest], wanted: int, weighs: Callable[[Node], int]) -> Removal:
        """The shortest run of ``order`` that frees ``wanted`` bytes as ``weighs`` counts them, less if all of it does
        not. What is pinned or in use is passed over, and an image goes whole or not at all."""
        removed = Removed()
        trials = []
        freed = 0
        for digest in order:
            if freed >= wanted:
                break
            if digest not in self._nodes or digest in removed.freed:
                continue
            trial = self._without(removed, self._nodes[digest].memberships(), [digest])
            if any(node.digest == digest for node in trial.freed) and not self._is_used(trial):
                removed.take(trial)
                trials.append(trial)
                freed += sum(map(weighs, trial.freed))
        return sum_of(trials)

    def purge(self, digest: Digest) -> Removal:
        """The content wherever it is held, even out of the middle of an image; nothing if it is pinned or in use."""
        node = self._nodes.get(digest)
        if node is None or self._in_use(digest) or any(self._keeps(node, place) for place in node.places):
            return Removal()
        if node.is_manifest:
            whole = self._without(Removed(), node.memberships(), [digest])
            if any(each.digest == digest for each in whole.freed):
                return Removal() if self._is_used(whole) else whole
        return Removal(frozenset(node.memberships()), (node,))

    def _without(self, removed: "Removed", memberships: Iterable[Membership], roots: Iterable[Digest]) -> Removal:
        """What leaves besides what already did; ``roots`` are looked at even where they have no membership."""
        gone = self._released(removed, memberships)
        touched = [membership.digest for membership in gone]
        return Removal(frozenset(gone), tuple(self._freed(removed, gone, [*touched, *roots])))

    def _released(self, removed: "Removed", memberships: Iterable[Membership]) -> set[Membership]:
        gone: set[Membership] = set()
        work = list(memberships)
        while work:
            membership = work.pop()
            node, place = self._at(membership)
            if (
                node is None
                or place is None
                or membership in gone
                or membership in removed.memberships
                or self._keeps(node, place)
            ):
                continue
            gone.add(membership)
            work += (Membership(membership.repository, referrer) for referrer in node.referrers)
            for child in (Membership(membership.repository, digest) for digest in node.children):
                if self._follows(child, gone, removed.memberships):
                    work.append(child)
        return gone

    def _follows(self, child: Membership, *gone: set[Membership]) -> bool:
        node, place = self._at(child)
        if node is None or place is None or not node.is_manifest or place.tags:
            return False
        return not self._is_child(child, *gone)

    def _is_child(self, membership: Membership, *gone: set[Membership]) -> bool:
        """Of an index that keeps its membership in the same repository."""
        _, place = self._at(membership)
        indexes = place.indexes if place is not None else frozenset()
        return any(
            all(Membership(membership.repository, index) not in memberships for memberships in gone)
            for index in indexes
        )

    def _freed(self, removed: "Removed", gone: set[Membership], touched: list[Digest]) -> list[Node]:
        lost: Counter[Digest] = Counter()
        freed: dict[Digest, Node] = {}
        while touched:
            digest = touched.pop()
            node = self._nodes.get(digest)
            if node is None or digest in freed or digest in removed.freed:
                continue
            if node.parents > lost[digest] + removed.lost[digest]:
                continue
            if node.is_manifest and any(
                membership not in gone and membership not in removed.memberships for membership in node.memberships()
            ):
                continue
            if not node.is_manifest and any(self._keeps(node, place) for place in node.places):
                continue
            freed[digest] = node
            lost.update(set(node.children))
            touched += node.children
            touched += node.referrers
        return list(freed.values())

    def _is_used(self, removal: Removal) -> bool:
        parts = {part for node in removal.freed for part in (node.digest, *node.children)}
        freed = {node.digest for node in removal.freed}
        return any(self._in_use(part) for part in parts if part in freed or part not in self._nodes)

    def _at(self, membership: Membership) -> tuple[Node | None, Place | None]:
        node = self._nodes.get(membership.digest)
        places = node.places if node is not None else ()
        return node, next((place for place in places if place.repository == membership.repository), None)


@dataclass(slots=True)
class Removed:
    """What has left so far, in one graph or in several one after the other."""

    memberships: set[Membership] = field(default_factory=set)
    freed: set[Digest] = field(default_factory=set)
    lost: Counter[Digest] = field(default_factory=Counter)  # by how many parents a digest is poorer

    def take(self, removal: Removal) -> None:
        self.memberships |= removal.memberships
        for node in removal.freed:
            self.freed.add(node.digest)
            self.lost.update(set(node.children))


def sum_of(removals: Sequence[Removal]) -> Removal:
    """All of them as one."""
    memberships = frozenset(membership for each in removals for membership in each.memberships)
    return Removal(memberships, tuple(node for each in removals for node in each.freed))
