"""What reaches what, and what goes when images leave. A pure decision over the neighbourhood of what is to leave.

A repository's tags and its manifests hold on to content: tags → manifests → children of an index, config, layers;
a subject → its referrers. An image leaves a repository: its seat there goes, and with it those of the children of an
index that have no tag and no other index there, and those of its referrers. Bytes are freed when nothing reaches them
any more: a manifest without a seat and without a held index, a blob without a held manifest.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.core.names import Digest, Repository, Tag


class Seat(NamedTuple):
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

    def seats(self) -> Iterator[Seat]:
        return (Seat(place.repository, self.digest) for place in self.places)


Keeps = Callable[[Node, Place], bool]
"""Whether a pin holds on to the content in that place."""
InUse = Callable[[Digest], bool]
"""Whether content is being read or is arriving."""


@dataclass(frozen=True, slots=True)
class Departure:
    """What leaves together."""

    seats: frozenset[Seat] = frozenset()
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

    def expire(self, seats: Iterable[Seat], before: "Parting | None" = None) -> tuple[Departure, list[Seat]]:
        """All that leaves when these images leave their repositories, besides what left ``before``; and those that
        stay: pinned, in use, or children of an index that stays."""
        parting = Parting() if before is None else before
        trials, stays = [], []
        for seat in sorted(seats, key=self._is_child):  # a child can go only behind its index
            if seat in parting.seats:
                continue
            trial = self._without(parting, [seat], [])
            if seat not in trial.seats or self._is_child(seat, parting.seats) or self._is_used(trial):
                stays.append(seat)
            else:
                parting.take(trial)
                trials.append(trial)
        return _sum(trials), stays

    def evict(self, order: Sequence[Digest], wanted: int, weighs: Callable[[Node], int]) -> Departure:
        """The shortest run of ``order`` that frees ``wanted`` bytes as ``weighs`` counts them, less if all of it does
        not. What is pinned or in use is passed over, and an image goes whole or not at all."""
        parting = Parting()
        trials = []
        freed = 0
        for digest in order:
            if freed >= wanted:
                break
            if digest not in self._nodes or digest in parting.freed:
                continue
            trial = self._without(parting, self._nodes[digest].seats(), [digest])
            if any(node.digest == digest for node in trial.freed) and not self._is_used(trial):
                parting.take(trial)
                trials.append(trial)
                freed += sum(map(weighs, trial.freed))
        return _sum(trials)

    def purge(self, digest: Digest) -> Departure:
        """The content wherever it is held, even out of the middle of an image; nothing if it is pinned or in use."""
        node = self._nodes.get(digest)
        if node is None or self._in_use(digest) or any(self._keeps(node, place) for place in node.places):
            return Departure()
        if node.is_manifest:
            whole = self._without(Parting(), node.seats(), [digest])
            if any(each.digest == digest for each in whole.freed):
                return Departure() if self._is_used(whole) else whole
        return Departure(frozenset(node.seats()), (node,))

    def _without(self, parting: "Parting", seats: Iterable[Seat], roots: Iterable[Digest]) -> Departure:
        """What leaves besides what already did; ``roots`` are looked at even where they have no seat."""
        gone = self._leaving(parting, seats)
        touched = [seat.digest for seat in gone]
        return Departure(frozenset(gone), tuple(self._freed(parting, gone, [*touched, *roots])))

    def _leaving(self, parting: "Parting", seats: Iterable[Seat]) -> set[Seat]:
        gone: set[Seat] = set()
        work = list(seats)
        while work:
            seat = work.pop()
            node, place = self._at(seat)
            if node is None or place is None or seat in gone or seat in parting.seats or self._keeps(node, place):
                continue
            gone.add(seat)
            work += (Seat(seat.repository, referrer) for referrer in node.referrers)
            for child in (Seat(seat.repository, digest) for digest in node.children):
                if self._follows(child, gone, parting.seats):
                    work.append(child)
        return gone

    def _follows(self, child: Seat, *gone: set[Seat]) -> bool:
        node, place = self._at(child)
        if node is None or place is None or not node.is_manifest or place.tags:
            return False
        return not self._is_child(child, *gone)

    def _is_child(self, seat: Seat, *gone: set[Seat]) -> bool:
        """Of an index that keeps its seat in the same repository."""
        _, place = self._at(seat)
        indexes = place.indexes if place is not None else frozenset()
        return any(all(Seat(seat.repository, index) not in seats for seats in gone) for index in indexes)

    def _freed(self, parting: "Parting", gone: set[Seat], touched: list[Digest]) -> list[Node]:
        lost: Counter[Digest] = Counter()
        freed: dict[Digest, Node] = {}
        while touched:
            digest = touched.pop()
            node = self._nodes.get(digest)
            if node is None or digest in freed or digest in parting.freed:
                continue
            if node.parents > lost[digest] + parting.lost[digest]:
                continue
            if node.is_manifest and any(seat not in gone and seat not in parting.seats for seat in node.seats()):
                continue
            if not node.is_manifest and any(self._keeps(node, place) for place in node.places):
                continue
            freed[digest] = node
            lost.update(set(node.children))
            touched += node.children
            touched += node.referrers
        return list(freed.values())

    def _is_used(self, departure: Departure) -> bool:
        parts = {part for node in departure.freed for part in (node.digest, *node.children)}
        freed = {node.digest for node in departure.freed}
        return any(self._in_use(part) for part in parts if part in freed or part not in self._nodes)

    def _at(self, seat: Seat) -> tuple[Node | None, Place | None]:
        node = self._nodes.get(seat.digest)
        places = node.places if node is not None else ()
        return node, next((place for place in places if place.repository == seat.repository), None)


@dataclass(slots=True)
class Parting:
    """What has left so far, in one graph or in several one after the other."""

    seats: set[Seat] = field(default_factory=set)
    freed: set[Digest] = field(default_factory=set)
    lost: Counter[Digest] = field(default_factory=Counter)  # by how many parents a digest is poorer

    def take(self, departure: Departure) -> None:
        self.seats |= departure.seats
        for node in departure.freed:
            self.freed.add(node.digest)
            self.lost.update(set(node.children))


def _sum(departures: Sequence[Departure]) -> Departure:
    seats = frozenset(seat for each in departures for seat in each.seats)
    return Departure(seats, tuple(node for each in departures for node in each.freed))
