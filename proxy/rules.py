"""From the configuration's settings to the rules of the rooms."""

from proxy.admin.reload import lifecycle_rules, login_rules, warm_rules
from proxy.cache.doubts import VerifyRules
from proxy.cache.engine import CacheRules
from proxy.cache.fills import FillRules
from proxy.cache.intake import IntakeRules
from proxy.composition import ServiceRules
from proxy.config import Settings, read_file
from proxy.core.budget import ByteLimits
from proxy.core.clock import EARLIEST
from proxy.core.doors import HostNames, PlaceRules
from proxy.core.freshness import TagRules
from proxy.core.transfer_plan import TransferRules
from proxy.front.connections import ConnectionRules
from proxy.front.streams import SenderRules
from proxy.front.tls import TlsTerms
from proxy.login.material import LoginSecrets


def service_rules(settings: Settings, most: int, tls: TlsTerms | None) -> ServiceRules:
    """All of them. ``most`` connections fit into the process; ``tls`` is what the listener's files came to. Reads the
    files of logins: blocks."""
    limits = settings.limits
    places = PlaceRules(most, limits.connections_per_address)
    connections = ConnectionRules(places, limits.header_timeout, limits.idle_timeout)
    return ServiceRules(
        _cache_rules(settings),
        SenderRules(limits.write_stall),
        connections,
        _pull_hosts(settings),
        settings.trusted_proxies,
        LoginSecrets.read(login_rules(settings), read_file),
        tls,
        HostNames.of("localhost", settings.host_names, any_address=False) if settings.loopback is not None else None,
    )


def admin_hosts(settings: Settings) -> HostNames:
    """The names by which the admin listener may be asked, wherever it listens."""
    return HostNames.of(settings.admin.host, settings.host_names, not settings.admin.is_loopback)


def _pull_hosts(settings: Settings) -> HostNames | None:
    """Those of pulls; any, where others than this machine reach them: clients name a cache by whatever name it has."""
    if not settings.listen.is_loopback:
        return None
    return HostNames.of(settings.listen.host, settings.host_names, any_address=False)


def _cache_rules(settings: Settings) -> CacheRules:
    tags, limits, transfers = settings.tags, settings.limits, settings.transfers
    intake = IntakeRules(patience=transfers.patience, transfers=TransferRules(transfers.per_blob))
    return CacheRules(
        ByteLimits(settings.cache.max_size),
        settings.cache.min_free,
        TagRules(tags.ttl, tags.stale_if_error, tags.negative_ttl, tags.revalidate_timeout),
        FillRules(limits.fills, limits.fill_queue, limits.blob_size, intake=intake),
        lifecycle_rules(settings),
        VerifyRules(settings.verify.max_age, settings.verify.on_read),
        EARLIEST,
        settings.pins,
        warm_rules(settings),
    )
