"""The store against the catalog: what one of them does not know is found again, or forgotten.

Runs behind a start, in portions; nothing waits for it. Twice in a row changes nothing the second time.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import methodcaller

from proxy.cache.holdings import Holdings
from proxy.core.errors import ContentMissing, StoreFailed
from proxy.core.manifests import ManifestFacts, ManifestInvalid, read_manifest
from proxy.core.names import Digest
from proxy.core.portions import PORTIONS
from proxy.storage.contract import BlobReader, Content
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.reconcile")

_MANIFEST_LIMIT = 4 << 20


@dataclass(slots=True)
class Findings:
    adopted: int = 0
    forgotten: int = 0
    quarantined: int = 0


async def reconcile(holdings: Holdings, arriving: Callable[[Digest], bool], now: float) -> Findings:
    """``arriving`` tells of content that a fill is about to make known itself; ``now`` in seconds since the epoch.
    Raises NoSpace or StoreFailed."""
    findings = Findings()
    portions = holdings.store.shards()
    for first, end in PORTIONS:
        stored = await off_loop(holdings.threads.behind, partial(next, portions, []))
        held = {content.digest: content for content in await holdings.catalog.contents.between(first, end)}
        for digest, size in stored:
            known = held.pop(digest, None)
            if known is None and not arriving(digest) and await _unknown(holdings, digest):
                await _adopt(holdings, digest, size, now, findings)
            elif known is not None and known.size != size:
                await _drop(holdings, known, findings)
        gone = [content for content in held.values() if not await _present(holdings, content.digest)]
        if gone:
            findings.forgotten += len(gone)
            await holdings.forget(gone)
        await asyncio.sleep(0)
    await holdings.recount()
    if findings != Findings():
        log.warning("store and catalog compared: %s", findings)
    return findings


async def _unknown(holdings: Holdings, digest: Digest) -> bool:
    """Looked at again: it may be just being committed, or have been since the catalog was asked."""
    return not holdings.is_open(digest) and await holdings.catalog.contents.get(digest) is None


async def _present(holdings: Holdings, digest: Digest) -> bool:
    """Looked at again: it may have been committed since the folder was listed."""
    try:
        (await _open(holdings, digest)).close()
    except ContentMissing:
        return False
    except StoreFailed:
        return True
    return True


async def _adopt(holdings: Holdings, digest: Digest, size: int, now: float, findings: Findings) -> None:
    try:
        if not await off_loop(holdings.threads.behind, partial(holdings.store.verify, digest)):
            findings.quarantined += 1
            return await off_loop(holdings.threads.removing, partial(holdings.store.quarantine, digest))
        facts = await _facts(holdings, digest, size)
    except (ContentMissing, StoreFailed) as cause:
        log.warning("%s: %s", digest, cause)
        return
    findings.adopted += 1
    media_type, children, subject = (facts.media_type, facts.children, facts.subject) if facts else ("", (), None)
    await holdings.adopt(Content(digest, size, media_type, now, now, subject=subject), children)


async def _facts(holdings: Holdings, digest: Digest, size: int) -> ManifestFacts | None:
    """A manifest shows by its fields; everything else is a blob."""
    if size > _MANIFEST_LIMIT:
        return None
    reader = await _open(holdings, digest)
    try:
        raw = await off_loop(holdings.threads.behind, partial(reader.read, 0, size))
        return await holdings.turns.run(read_manifest(raw, ""))
    except ManifestInvalid:
        return None
    finally:
        reader.close()


async def _open(holdings: Holdings, digest: Digest) -> BlobReader:
    return await off_loop(
        holdings.threads.behind, partial(holdings.store.open, digest), give_back=methodcaller("close")
    )


async def _drop(holdings: Holdings, content: Content, findings: Findings) -> None:
    findings.quarantined += 1
    await holdings.discard(content)
