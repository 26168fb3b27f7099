"""The upstreams of a configuration, as clients know them."""

from collections.abc import Collection

from proxy.clients.chains import Question
from proxy.clients.setups import MirroredRegistry, ProxyAddress
from proxy.config import Settings
from proxy.core.names import TIER

_ANY = "0" * 12  # stands for a star; an account of AWS, for which stars are mostly written
_ANOTHER = "registry.example"  # stands for the star alone


def registries_of(settings: Settings) -> list[MirroredRegistry]:
    """In the order of the configuration, and what bare paths mean where only the star alone covers it. The url of a
    name with a star is that of one host that it covers."""
    named = [MirroredRegistry(name, each.own_url(_one(name))) for name, each in settings.upstreams.items()]
    meant = settings.default_upstream
    if meant is None or meant in settings.upstreams:
        return named
    return [MirroredRegistry(meant, settings.upstreams[TIER].own_url(meant)), *named]


def question_of(settings: Settings, here: ProxyAddress | None, names: Collection[str] = ()) -> Question:
    """With one host for each star; ``names`` are the only ones, all of them where empty. ``here`` is where clients
    reach the proxy, None for what the configuration says."""
    wanted = [each for each in registries_of(settings) if not names or each.name in names]
    registries = [each._replace(name=_one(each.name)) for each in wanted]
    return Question(here or address_of(settings), registries, settings.default_upstream)


def address_of(settings: Settings) -> ProxyAddress:
    """Where clients reach the proxy as far as its configuration tells."""
    if settings.public_url is not None:
        return ProxyAddress.parse(settings.public_url)
    return ProxyAddress("https" if settings.tls is not None else "http", *settings.listen)


def _one(name: str) -> str:
    return _ANOTHER if name == TIER else name.replace("*", _ANY, 1)
