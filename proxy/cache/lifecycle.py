"""The lifecycle policies on the running cache: reviewed repository by repository, applied in small steps.

An image here is a held manifest of a repository: pushed when it was first cached there, pulled when it was last served.
``transition`` has no effect in a cache: it is shown and counted, and nothing goes.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

from proxy.cache.holdings import Holdings
from proxy.cache.retention import Retention
from proxy.core.errors import OwnFault, StoreFailed
from proxy.core.graph import Membership, Removal, Removed
from proxy.core.lifecycle import Action, Decision, Image, evaluate
from proxy.core.moments import due_in
from proxy.core.names import Digest, Repository
from proxy.core.patterns import fits
from proxy.core.policies import Assignment, policy_of
from proxy.storage.contract import HeldImage
from proxy.tasks.jobs import Sleep
from proxy.tasks.off_loop import off_loop
from proxy.tasks.woken import woken

PushTimes = Callable[[Repository], Awaitable[Mapping[str, float]]]
"""When upstream's images were pushed, by digest."""

log = logging.getLogger("entrepot.lifecycle")

_PAGE = 50  # repositories or images read in one step
_PAUSE = 0.01  # seconds between two looks, in which hits have their turn
_MANY = 500  # images of a repository that are judged off the loop
_FIRST = 60.0  # seconds after a start before anything goes: the catalog may still be compared with the store
_NOTE = "lifecycle"


@dataclass(frozen=True, slots=True)
class LifecycleRules:
    assignments: tuple[Assignment, ...] = ()
    interval: float = 3600.0  # seconds


class Review(NamedTuple):
    """One repository under its policy."""

    repository: Repository
    images: int  # that it has
    decisions: list[Decision]
    stays: frozenset[Digest]  # to be expired by a rule, but pinned or in use
    removal: Removal  # what goes, and the bytes that are freed by it after sharing


@dataclass(frozen=True, slots=True)
class LastRun:
    began_at: float | None = None  # seconds since the epoch; None where there was none yet
    seconds: float = 0.0
    repositories: int = 0
    images: int = 0
    expired: int = 0  # images
    freed_bytes: int = 0


class Lifecycle:
    """A run under way ends under the rules it began with."""

    def __init__(
        self,
        holdings: Holdings,
        retention: Retention,
        rules: LifecycleRules,
        now: Callable[[], float],
        push_times: PushTimes,
        in_doubt: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """``in_doubt`` tells why nothing may go by its age now; empty where it may."""
        self.rules = rules
        self.last = LastRun()
        self.runs: Counter[str] = Counter(completed=0, failed=0)
        self.actions: Counter[str] = Counter({action.value: 0 for action in Action})
        self._holdings = holdings
        self._retention = retention
        self._now = now
        self._push_times = push_times
        self._in_doubt = in_doubt
        self._configured = asyncio.Event()

    def configure(self, rules: LifecycleRules) -> None:
        """These hold from now on; their interval counts from the last run."""
        self.rules = rules
        self._configured.set()

    async def run(self, sleep: Sleep = asyncio.sleep) -> None:
        """Applies the policies every interval, over restarts too. Runs until cancelled, or until a run fails for a bug.
        What a run did that fails is done."""
        await sleep(_FIRST)
        await self._remember()
        while True:
            await self._until_due(sleep)
            if doubts := self._in_doubt():
                log.warning(
                    "the lifecycle policies wait: %s", "; ".join(f"{what}: {why}" for what, why in doubts.items())
                )
                await sleep(_FIRST)
                continue
            try:
                await self.apply()
            except OwnFault as cause:  # of the storage, which has told so itself
                self.runs["failed"] += 1
                log.warning("the lifecycle policies are applied again soon: %s", cause)
                await sleep(_FIRST)
            except Exception:
                self.runs["failed"] += 1
                raise

    async def _until_due(self, sleep: Sleep) -> None:
        while True:
            self._configured.clear()
            due = sleep(due_in(self.last.began_at or 0.0, self.rules.interval, self._now()))
            if not await woken(self._configured, due):
                return

    async def apply(self) -> LastRun:
        """One run under the rules. Raises StoreFailed."""
        began = self._now()
        repositories = images = expired = freed = 0
        async with aclosing(self.expire(self.rules.assignments)) as reviews:
            async for review in reviews:
                repositories, images = repositories + 1, images + review.images
                expired, freed = expired + len(review.removal.memberships), freed + review.removal.size
        await self._retention.tidy()
        self.last = LastRun(began, self._now() - began, repositories, images, expired, freed)
        await self._holdings.catalog.notes.write_note(_NOTE, json.dumps(asdict(self.last)))
        self.runs["completed"] += 1
        return self.last

    async def preview(self, assignments: Sequence[Assignment], pattern: str = "*") -> AsyncGenerator[Review, None]:
        """What would go now from repositories that fit the pattern. Changes nothing."""
        removed = Removed()
        async with aclosing(self._judged(assignments, pattern)) as judged:
            async for repository, images, decisions in judged:
                removal, stays = await self._retention.weigh(_seats(repository, decisions), removed)
                yield Review(
                    repository, images, decisions, frozenset(membership.digest for membership in stays), removal
                )

    async def expire(self, assignments: Sequence[Assignment], pattern: str = "*") -> AsyncGenerator[Review, None]:
        """Lets it go."""
        async with aclosing(self._judged(assignments, pattern)) as judged:
            async for repository, images, decisions in judged:
                self.actions.update(decision.action.value for decision in decisions)
                removal, stays = await self._retention.expire(_seats(repository, decisions))
                if removal.memberships:
                    log.info(
                        "%s: %d images expired, %d bytes freed", repository, len(removal.memberships), removal.size
                    )
                yield Review(
                    repository, images, decisions, frozenset(membership.digest for membership in stays), removal
                )

    async def _judged(
        self, assignments: Sequence[Assignment], pattern: str
    ) -> AsyncGenerator[tuple[Repository, int, list[Decision]], None]:
        await self._holdings.flush()
        async for repository in self.repositories(pattern):
            policy = policy_of(assignments, repository)
            if policy is None:
                continue
            pushed = await self._push_times(repository)
            images = [image_of(repository, image, pushed) async for image in self.images(repository)]
            if len(images) > _MANY:
                decisions = await off_loop(
                    self._holdings.threads.behind, partial(evaluate, policy, images, self._now())
                )
            else:
                decisions = evaluate(policy, images, self._now())
            yield repository, len(images), decisions
            await asyncio.sleep(_PAUSE)

    async def repositories(self, pattern: str = "*") -> AsyncGenerator[Repository, None]:
        """Those of which images are held, by name."""
        after = None
        while page := await self._holdings.catalog.memberships.repositories(after, _PAGE):
            for repository in page:
                if fits(pattern, str(repository)):
                    yield repository
            after = page[-1]

    async def images(self, repository: Repository) -> AsyncGenerator[HeldImage, None]:
        after = ""
        while page := await self._holdings.catalog.contents.images(repository, after, _PAGE):
            for image in page:
                yield image
            after = page[-1].content.digest
            await asyncio.sleep(0)

    async def _remember(self) -> None:
        try:
            note = await self._holdings.catalog.notes.note(_NOTE)
            if note is not None and self.last.began_at is None:
                last = json.loads(note)
                self.last = LastRun(**{**last, "began_at": float(last["began_at"])})
        except (StoreFailed, ValueError, TypeError, KeyError) as cause:
            log.warning("when the lifecycle policies were last applied is not known: %s", cause)


async def no_push_times(_: Repository) -> Mapping[str, float]:
    """Of registries that do not tell."""
    return {}


def image_of(repository: Repository, held: HeldImage, pushed: Mapping[str, float]) -> Image:
    """``pushed`` has the times that upstream knows; any other image was pushed when it was first cached."""
    content = held.content
    return Image(
        str(repository),
        content.digest,
        held.tags,
        pushed.get(content.digest, held.cached_at),
        content.used_at,
        held.size,
        content.media_type,
        held.manifests,
        content.subject,
    )


def _seats(repository: Repository, decisions: Sequence[Decision]) -> list[Membership]:
    expiring = (decision.image.digest for decision in decisions if decision.action is Action.EXPIRE)
    return [Membership(repository, Digest(digest)) for digest in expiring]
