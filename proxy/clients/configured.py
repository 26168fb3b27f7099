"""The upstreams of a configuration, as clients know them."""

from collections.abc import Collection

from proxy.clients.setups import MirroredRegistry
from proxy.config import Settings

_ANY = "0" * 12  # stands for a star; an account of AWS, for which stars are mostly written


def registries_of(settings: Settings) -> list[MirroredRegistry]:
    """In the order of the configuration. The url of a name with a star is that of one host that it covers."""
    return [MirroredRegistry(name, each.base_url(_one(name))) for name, each in settings.upstreams.items()]


def asked_of(settings: Settings, names: Collection[str] = ()) -> list[MirroredRegistry]:
    """The same with one host for each star; ``names`` are the only ones, all of them where empty."""
    wanted = [each for each in registries_of(settings) if not names or each.name in names]
    return [each._replace(name=_one(each.name)) for each in wanted]


def _one(name: str) -> str:
    return name.replace("*", _ANY, 1)
