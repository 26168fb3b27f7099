"""The operations on bundles: what is held as images, what is missing, and an operator's order that images be had."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from proxy.admin.answering import Offer
from proxy.admin.bundle_messages import (
    EXPORT,
    IMPORT,
    MISSING,
    ContentSize,
    ExportedImage,
    ExportEnd,
    ExportRequest,
    ImportedImage,
    ImportEnd,
    ImportRequest,
    MissingRequest,
    MissingResult,
    OrderRequest,
)
from proxy.bundles.listing import read_list
from proxy.bundles.names import ImageName, image_name
from proxy.bundles.refusal import BundleRefused
from proxy.bundles.signatures import PublicKey, demand_signed
from proxy.cache.engine import Cache
from proxy.cache.exports import HeldWhole
from proxy.cache.imports import OrderedImage
from proxy.core.errors import Fault, RequestFault
from proxy.core.names import Digest

log = logging.getLogger("entrepot.bundles")


class Bundling:
    """``keys`` are those whose signature is taken; where ``signed_only``, nothing else is."""

    def __init__(self, cache: Cache, keys: Sequence[PublicKey] = (), signed_only: bool = False) -> None:
        self._exports = cache.exports
        self._imports = cache.imports
        self._turns = cache.holdings.turns
        self._keys = keys
        self._signed_only = signed_only

    def offers(self) -> Sequence[Offer[Any, Any]]:
        """All of them, for the listener."""
        return Offer(EXPORT, self.export), Offer(MISSING, self.missing), Offer(IMPORT, self.order)

    async def export(self, request: ExportRequest) -> AsyncGenerator[ExportedImage | ExportEnd, None]:
        """Raises RequestFault where nothing is named, StoreFailed."""
        if not request.images or not all(request.images):
            raise RequestFault("images: a pattern over REGISTRY/REPOSITORY is needed, * for all")
        count = 0
        async with aclosing(self._exports.images(request.images)) as images:
            async for image in images:
                count += not image.missing
                yield _exported(image)
        yield ExportEnd(images=count)

    async def missing(self, request: MissingRequest) -> AsyncGenerator[MissingResult, None]:
        """Raises RequestFault for what is no digest, StoreFailed."""
        yield MissingResult(
            missing=tuple(await self._imports.missing([Digest.parse(each) for each in request.digests]))
        )

    async def order(self, request: ImportRequest) -> AsyncGenerator[ImportedImage | ImportEnd, None]:
        """Raises RequestFault where the bundle is not signed as it has to be."""
        allowed = await self._allowed(request)
        imported = 0
        for each in request.images:
            line = await self._ordered(each, allowed, request.preview)
            imported += not line.refused
            yield line
        yield ImportEnd(imported=imported, refused=len(request.images) - imported)

    async def _allowed(self, request: ImportRequest) -> set[tuple[ImageName, Digest]] | None:
        """What a key has signed; None where no key needs to have."""
        if not self._signed_only:
            return None
        listed = request.listed.encode() if request.listed is not None else None
        signature = request.signature.encode() if request.signature is not None else None
        try:
            demand_signed(listed, signature, self._keys)
            return (await self._turns.run(read_list(listed or b""))).named()
        except BundleRefused as cause:
            raise RequestFault(f"import.require_signature: {cause}") from None

    async def _ordered(
        self, asked: OrderRequest, allowed: set[tuple[ImageName, Digest]] | None, preview: bool
    ) -> ImportedImage:
        try:
            image, name = _image(asked)
            if allowed is not None and (name, image.digest) not in allowed:
                raise RequestFault("it is not in the signed list")
            if preview:
                await self._imports.check(image)
                return ImportedImage(name=asked.name, image_digest=asked.digest, contents=len(image.contents))
            count = await self._imports.order(image)
        except Fault as cause:
            return ImportedImage(name=asked.name, image_digest=asked.digest, refused=str(cause))
        log.info("imported by order: %s as %s, %d contents", name, image.digest, count)
        return ImportedImage(name=asked.name, image_digest=asked.digest, contents=count)


def _exported(image: HeldWhole) -> ExportedImage:
    return ExportedImage(
        repository_name=str(image.repository),
        image_digest=image.digest,
        image_tags=image.tags,
        manifests=tuple(dict.fromkeys(image.manifests)),
        contents=tuple(ContentSize(digest=digest, size=size) for digest, size in image.sizes.items()),
        absent=tuple(image.absent),
        missing=tuple(image.missing),
    )


def _image(asked: OrderRequest) -> tuple[OrderedImage, ImageName]:
    """Raises RequestFault."""
    try:
        name = image_name(asked.name)
    except BundleRefused as cause:
        raise RequestFault(str(cause)) from None
    contents, lent = frozenset(map(Digest.parse, asked.contents)), frozenset(map(Digest.parse, asked.lent))
    return OrderedImage(name.repository, name.tag, Digest.parse(asked.digest), contents, lent), name
