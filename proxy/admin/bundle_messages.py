"""What is asked of a running proxy about bundles, and what it answers. Bytes go by ``/api/v1/contents/DIGEST``.

Bundles themselves are read and written by the command that asks, with its user's rights: a running proxy opens no file
that a request names, and what strangers wrote is taken apart in another process.
"""

from pydantic import TypeAdapter

from proxy.admin.messages import AdminRequest, Message, Operation


class ExportRequest(AdminRequest):
    """``images``: patterns over REGISTRY/REPOSITORY, with :TAG, @DIGEST or nothing behind them."""

    images: tuple[str, ...]


class ContentSize(Message):
    """In bytes."""

    digest: str
    size: int


class ExportedImage(Message):
    """An image that is held whole, where nothing is ``missing``. ``absent`` are manifests of an index that are not held
    whole; ``manifests`` those of it that are, the ones referred to first."""

    repository_name: str
    image_digest: str
    image_tags: tuple[str, ...]
    manifests: tuple[str, ...]
    contents: tuple[ContentSize, ...]
    absent: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class ExportEnd(Message):
    """How many are whole."""

    images: int


class MissingRequest(AdminRequest):
    """Which of these are not held?"""

    digests: tuple[str, ...]


class MissingResult(Message):
    """Those that are not held."""

    missing: tuple[str, ...]


class OrderRequest(AdminRequest):
    """One image to be had from now on: ``name`` is REGISTRY/REPOSITORY[:TAG], ``contents`` all that it consists of, of
    which ``lent`` were not in the bundle."""

    name: str
    digest: str
    contents: tuple[str, ...]
    lent: tuple[str, ...] = ()


class ImportRequest(AdminRequest):
    """``listed`` is the list of the bundle as it stands there, ``signature`` that of the list. With ``preview`` nothing
    is done, and whether all contents are held is not looked at."""

    images: tuple[OrderRequest, ...]
    listed: str | None = None
    signature: str | None = None
    preview: bool = False


class ImportedImage(Message):
    """``refused`` is why it is not to be had, empty where it is."""

    name: str
    image_digest: str
    contents: int = 0
    refused: str = ""


class ImportEnd(Message):
    """How many are had, or would be."""

    imported: int
    refused: int


_EXPORTS: TypeAdapter[ExportedImage | ExportEnd] = TypeAdapter(ExportedImage | ExportEnd)
_IMPORTS: TypeAdapter[ImportedImage | ImportEnd] = TypeAdapter(ImportedImage | ImportEnd)

EXPORT = Operation("export", ExportRequest, _EXPORTS)
MISSING = Operation("missing", MissingRequest, TypeAdapter(MissingResult))
IMPORT = Operation("import", ImportRequest, _IMPORTS, largest=32 << 20)
