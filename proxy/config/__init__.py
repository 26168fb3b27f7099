"""The configuration of Entrepot: YAML, environment, checks, and the settings that come out of them.

Only the top of the house imports this package; the rooms get their values as arguments.
"""

from proxy.config.auth import (
    AnonymousAuth,
    Auth,
    BasicAuth,
    BasicCredentials,
    EcrAuth,
    EcrPublicAuth,
    read_credentials,
)
from proxy.config.faults import ConfigFault, ConfigInvalid
from proxy.config.lifecycle import LifecycleSettings
from proxy.config.load import Loaded, admin_address, load, load_without_secrets
from proxy.config.overrides import ADMIN_VARIABLE
from proxy.config.places import Address, canonical_name
from proxy.config.quantities import FreeSpace, format_duration, format_size, parse_duration, parse_size
from proxy.config.schema import effective, json_schema
from proxy.config.secrets import FileRefused, SecretSource, read_secret
from proxy.config.settings import (
    CacheSettings,
    DrainSettings,
    LimitSettings,
    LogSettings,
    Settings,
    TagSettings,
    TransferSettings,
)
from proxy.config.upstreams import UpstreamSettings

__all__ = [
    "ADMIN_VARIABLE",
    "Address",
    "AnonymousAuth",
    "Auth",
    "BasicAuth",
    "BasicCredentials",
    "CacheSettings",
    "ConfigFault",
    "ConfigInvalid",
    "DrainSettings",
    "EcrAuth",
    "EcrPublicAuth",
    "FileRefused",
    "FreeSpace",
    "LifecycleSettings",
    "LimitSettings",
    "Loaded",
    "LogSettings",
    "SecretSource",
    "Settings",
    "TagSettings",
    "TransferSettings",
    "UpstreamSettings",
    "admin_address",
    "canonical_name",
    "effective",
    "format_duration",
    "format_size",
    "json_schema",
    "load",
    "load_without_secrets",
    "parse_duration",
    "parse_size",
    "read_credentials",
    "read_secret",
]
