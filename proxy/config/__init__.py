"""The configuration of Entrepot: YAML, environment, checks, and the settings that come out of them.

Only the top of the house imports this package; the rooms get their values as arguments.
"""

from proxy.config.auth import BasicAuth, DockerConfigAuth, EcrAuth, EcrPublicAuth, read_credentials
from proxy.config.docker_credentials import DockerCredentials
from proxy.config.document import SIZE_LIMIT
from proxy.config.egress import EgressSettings
from proxy.config.faults import ConfigFault, ConfigInvalid
from proxy.config.files import FileRefused, read_file
from proxy.config.load import AdminAddress, Loaded, admin_address, load, load_content, load_without_secrets
from proxy.config.overrides import ADMIN_TOKEN_VARIABLE, ADMIN_VARIABLE
from proxy.config.places import Address, host_of
from proxy.config.quantities import format_size, parse_size
from proxy.config.schema import effective, json_schema
from proxy.config.secrets import (
    LoginSource,
    SecretSource,
    admin_token,
    demand_certificates,
    read_admin_token,
    read_login,
    read_public_key,
    read_secret,
)
from proxy.config.settings import Settings
from proxy.config.timeouts import TimeoutSettings
from proxy.config.tls import TlsFiles, TlsMaterial, expiry
from proxy.config.upstreams import UpstreamSettings

__all__ = [
    "ADMIN_TOKEN_VARIABLE",
    "ADMIN_VARIABLE",
    "SIZE_LIMIT",
    "Address",
    "AdminAddress",
    "BasicAuth",
    "ConfigFault",
    "ConfigInvalid",
    "DockerConfigAuth",
    "DockerCredentials",
    "EcrAuth",
    "EcrPublicAuth",
    "EgressSettings",
    "FileRefused",
    "Loaded",
    "LoginSource",
    "SecretSource",
    "Settings",
    "TimeoutSettings",
    "TlsFiles",
    "TlsMaterial",
    "UpstreamSettings",
    "admin_address",
    "admin_token",
    "demand_certificates",
    "effective",
    "expiry",
    "format_size",
    "host_of",
    "json_schema",
    "load",
    "load_content",
    "load_without_secrets",
    "parse_size",
    "read_admin_token",
    "read_credentials",
    "read_file",
    "read_login",
    "read_public_key",
    "read_secret",
]
