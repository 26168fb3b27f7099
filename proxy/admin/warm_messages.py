"""What is asked of a running proxy about warming, and what it answers. Lists of images are read by the command that
asks, with its user's rights; names come here, and bytes go nowhere but into the cache."""

from pydantic import TypeAdapter

from proxy.admin.messages import AdminRequest, Message, Operation


class WarmRequest(AdminRequest):
    """``images`` as people write them; without any, those of the configuration are meant, and nothing else may be
    said. ``platforms``: each is needed; without any, those of the configuration as far as an image has them.
    ``newest``: of each glob and range."""

    images: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    all_platforms: bool = False
    newest: int | None = None
    pin: bool = False


class WarmBlob(Message):
    """One that is arriving. Sizes are bytes, ``size`` None while nobody knows."""

    digest: str
    repository_name: str
    received: int
    size: int | None = None


class WarmState(Message):
    """How far it is: ``total`` bytes are known to be fetched, ``done`` have come; ``images`` is 0 until all names are
    looked up."""

    images: int
    images_done: int
    total: int
    done: int
    arriving: tuple[WarmBlob, ...] = ()


class WarmLine(Message):
    """How far it is, about twice a second."""

    progress: WarmState


class WarmResult(Message):
    """What became of one image. ``fetched`` are bytes that were not held; ``signatures`` manifests about it that are
    held with it; ``lacking`` platforms of which it has none. ``refused`` is why it is not held whole, and
    ``kind`` one of ``reference``, ``unknown``, ``denied``, ``platform``, ``outage``, ``offline``, ``space``,
    ``failed``."""

    name: str
    image_digest: str | None = None
    contents: int = 0
    fetched: int = 0
    signatures: int = 0
    lacking: tuple[str, ...] = ()
    kind: str = ""
    refused: str = ""


class WarmEnd(Message):
    """How many images are held, and are not; ``fetched`` bytes came for them."""

    held: int
    failed: int
    fetched: int


_LINES: TypeAdapter[WarmLine | WarmResult | WarmEnd] = TypeAdapter(WarmLine | WarmResult | WarmEnd)

WARM = Operation("warm", WarmRequest, _LINES, largest=16 << 20)
