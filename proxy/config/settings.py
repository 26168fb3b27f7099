"""Everything that can be set, with its default: the single source of the JSON Schema, the checks and the overrides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from proxy.bundles.signatures import PublicKey
from proxy.config.clients import AllowSettings, CertificateSettings, ClientSettings, TokenKeyFile
from proxy.config.egress import EgressSettings
from proxy.config.lifecycle import LifecycleSettings
from proxy.config.places import Address, HostName, Listen, Network, Patterns, SingleRegistryName, Url
from proxy.config.quantities import (
    DAY,
    HOUR,
    MINUTE,
    Duration,
    GiB,
    KiB,
    MiB,
    OptionalDuration,
    PositiveDuration,
    PositiveSize,
    Space,
    at_least,
    at_most,
    format_size,
)
from proxy.config.savings import SavingsSettings
from proxy.config.secrets import AdminTokenFile, FilePath, PublicKeyFile, SocketPath
from proxy.config.section import Misfit, Section
from proxy.config.timeouts import TimeoutSettings
from proxy.config.tls import TlsFiles, TlsSettings
from proxy.config.upstreams import CLEAR, Upstreams, UpstreamSettings, has_docker_hub, public_upstreams
from proxy.config.warm import WarmSettings
from proxy.core.budget import FreeSpaceRule
from proxy.core.certificates import CertificateNames
from proxy.core.names import TIER

_Count = Annotated[int, Field(ge=1, le=1_000_000)]


class CacheSettings(Section):
    """Where content is kept, and how much of it."""

    path: FilePath = Field(default=Path("~/.cache/entrepot"), validate_default=True)
    """Folder of the cache; one process per cache. Without it: $XDG_CACHE_HOME/entrepot or ~/.cache/entrepot."""
    max_size: PositiveSize = 50 * GiB
    """How much may be kept. What was used least recently goes first."""
    min_free: Space = FreeSpaceRule(5 * GiB, 5.0)
    """Room to leave free on the disk: a size, a percentage, or the larger of both."""


class TagSettings(Section):
    """How long an answer about a tag holds. Content by digest does not age."""

    ttl: Duration = MINUTE
    """How long a tag is served without asking the registry."""
    stale_if_error: Duration = DAY
    """How long a known tag is still served when the registry does not answer."""
    negative_ttl: Duration = 10.0
    """How long a tag that does not exist is remembered as missing."""
    revalidate_timeout: PositiveDuration = 5.0
    """How long a client waits for the registry while a stale answer is at hand."""
    immutable: Patterns = ()
    """Tags that never move, as patterns over REGISTRY/REPOSITORY:TAG; they are asked for once."""


class LogSettings(Section):
    """The log: which lines, in which form."""

    format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object per line."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious kind of line that is written. Holds at once after a reload."""
    access: Literal["all", "errors", "none"] = "all"
    """Which requests have a line of their own: all, those that were refused or failed, or none."""


class DrainSettings(Section):
    """A stop: how long pulls in progress are waited for."""

    delay: Duration = 5.0
    """How long to go on accepting pulls after readiness is withdrawn, so that load balancers notice."""
    timeout: Duration = MINUTE
    """How long pulls may take to finish before they are cut off."""


class LimitSettings(Section):
    """Most of what clients and registries may take at a time."""

    connections: _Count = 4096
    """Client connections at a time; more get 503."""
    connections_per_address: _Count = 256
    """Client connections at a time from one address (IPv6: one /64). Fewer once half of all are taken."""
    fills: _Count = 64
    """Blobs that arrive from registries at a time."""
    fill_queue: Annotated[int, Field(ge=0, le=1_000_000)] = 512
    """Blobs that wait for their turn to be fetched; more get 503."""
    header_timeout: PositiveDuration = 15.0
    """How long a client may take to send a request's header."""
    idle_timeout: PositiveDuration = 75.0
    """How long a connection without requests is kept; longer than the load balancer in front keeps it."""
    write_stall: PositiveDuration = MINUTE
    """How long a client may take no bytes of an answer before its connection is cut."""
    manifest_size: Annotated[PositiveSize, at_least(64 * KiB, format_size), at_most(16 * MiB, format_size)] = 4 * MiB
    """The largest manifest that is accepted from a registry; at most 16MiB."""
    blob_size: PositiveSize = 52 * GiB
    """The largest blob that is accepted from a registry."""


class TransferSettings(Section):
    """The ways in which a blob arrives."""

    per_blob: Annotated[int, Field(ge=1, le=32)] = 4
    """Connections to the registry at a time for one large blob."""
    patience: Duration = MINUTE
    """How long a blob that clients wait for is tried again while its registry is away. 0: it fails with the first."""


class VerifySettings(Section):
    """How recently content must have been proven by its digest when it is served."""

    max_age: OptionalDuration = DAY
    """Content that was proven longer ago is proven again behind the answer. off: only by the weekly round."""
    on_read: bool = False
    """Prove before each answer instead. Each hit then costs reading and hashing all of its content."""


class ImportSettings(Section):
    """Whose bundles are taken in."""

    keys: Annotated[tuple[PublicKeyFile, ...], Field(strict=False)] = ()
    """PEM files of Ed25519 public keys whose signature counts."""
    require_signature: bool = False
    """Take in nothing but images that stand in a list signed by one of the keys."""

    @model_validator(mode="after")
    def _some_key_can_sign(self) -> Self:
        if self.require_signature and not self.keys:
            raise Misfit([(("require_signature",), "no bundle can be taken in: keys names none")])
        return self

    @property
    def public_keys(self) -> tuple[PublicKey, ...]:
        """Those of ``keys``, as they were when the settings were made."""
        return tuple(file.key for file in self.keys)


class Settings(Section):
    """Entrepot, an OCI registry pull-through cache."""

    # A switch stands before the key that it permits, and what all upstreams share before them, because a validator
    # sees only the fields above its own.
    anonymous: bool = False
    """Allow pulls by anyone who can reach a listen address that is not loopback, or who does not log in where clients
    could. Where there are rules under allow, they say it instead."""
    tls: TlsSettings | None = None
    """TLS on listen, in place of plain HTTP. New files and new contents hold at once; on or off needs a restart."""
    clients: ClientSettings = Field(default_factory=ClientSettings)
    """How clients log in. Holds at once after a reload."""
    allow: Annotated[tuple[AllowSettings, ...], Field(strict=False)] = ()
    """Who may pull what. Once there is a rule, whatever none allows is denied; without any, every login pulls all.
    Holds at once after a reload."""
    token_key_file: TokenKeyFile | None = None
    """What the tokens that clients are given are signed with: Ed25519 private keys in PEM, of which the first signs, or
    a secret of 32 bytes or more. The same for replicas. Without it tokens end with the process; clients ask anew."""
    listen: Listen = Address("127.0.0.1", 5000)
    """Address of the OCI pull API: host:port, IPv6 in brackets."""
    loopback: Listen | None = None
    """A second address of the pull API, on loopback and always plain HTTP: for clients on the same machine."""
    public_url: Url | None = None
    """The URL that clients know the pull API by, where they are sent for tokens. Without it: what they ask by."""
    admin_public: bool = False
    """Allow an admin address that is not loopback without admin_token_file: health and metrics for everybody there,
    all else for this machine only."""
    admin_token_file: AdminTokenFile | None = None
    """File with the token that all but health and metrics needs of whoever asks from another machine. Read at each use;
    another file holds at once after a reload."""
    admin: Listen = Address("127.0.0.1", 5001)
    """Address of health, metrics, status and purge; never the same as the pull API."""
    admin_socket: SocketPath | None = None
    """A Unix socket for the same as admin, which commands then use. Its folder must be there."""
    admin_socket_access: Literal["user", "group"] = "user"
    """Who may use admin_socket: the user of the process (mode 0600), or its group too (0660)."""
    host_names: Annotated[tuple[HostName, ...], Field(strict=False)] = ()
    """Further names by which clients ask for a listener on loopback, or for admin: those that a proxy in front of it
    passes on in Host."""
    trusted_proxies: Annotated[tuple[Network, ...], Field(strict=False)] = ()
    """Networks of load balancers that speak the PROXY protocol (version 1 or 2) to listen: the client is the one they
    name. Each of their connections must begin with it, and no others may."""
    cache: CacheSettings = Field(default_factory=CacheSettings)
    """The content that is kept: where, and how much of it."""
    tags: TagSettings = TagSettings()
    """How long an answer about a tag holds."""
    timeouts: TimeoutSettings = TimeoutSettings()
    """How long registries may take; an upstream may say otherwise, key by key."""
    egress: EgressSettings = Field(default_factory=EgressSettings)
    """The way out to registries; an upstream may have one of its own."""
    offline: bool = False
    """Never ask any registry: serve what is held, however old, and nothing else. Holds at once after a reload."""
    upstreams: Upstreams = Field(default_factory=public_upstreams, validate_default=True)
    """Registries that can be reached, by the name clients use. Without it: the well-known public ones."""
    default_upstream: SingleRegistryName | None = "docker.io"
    """Registry meant by paths that name none (registry-mirrors of the Docker daemon); null turns them off.
    Where upstreams are given without docker.io and without the star alone, null is the default."""
    lifecycle: Annotated[tuple[LifecycleSettings, ...], Field(strict=False)] = ()
    """Lifecycle policies; the first whose patterns match a repository holds for it."""
    lifecycle_interval: PositiveDuration = HOUR
    """How often the lifecycle policies are applied."""
    pins: Patterns = ()
    """Content that is never let go, as patterns over REGISTRY/REPOSITORY or REGISTRY/REPOSITORY:TAG."""
    log: LogSettings = LogSettings()
    """What is written to standard error."""
    drain: DrainSettings = DrainSettings()
    """How a stop goes."""
    limits: LimitSettings = LimitSettings()
    """Bounds that keep one client or registry from taking everything."""
    transfers: TransferSettings = TransferSettings()
    """How blobs are fetched."""
    verify: VerifySettings = VerifySettings()
    """How content that is held is proven again."""
    warm: WarmSettings = Field(default_factory=WarmSettings)
    """Images that are brought before anybody pulls them. Holds at once after a reload."""
    imports: ImportSettings = Field(default_factory=ImportSettings, alias="import")
    """Whose bundles `entrepot import` may bring."""

    savings: SavingsSettings = Field(default_factory=SavingsSettings)
    """What bytes cost, for `entrepot savings`. Holds at once after a reload."""

    def offline_upstreams(self) -> frozenset[str]:
        """Keys of those that are not to be asked."""
        said = ((key, upstream.offline) for key, upstream in self.upstreams.items())
        return frozenset(key for key, offline in said if (self.offline if offline is None else offline))

    @property
    def asks_with_clients_logins(self) -> bool:
        """Whether some upstream decides by each client's own credential."""
        return any(upstream.by_client for upstream in self.upstreams.values())

    @property
    def names_clients_by_certificate(self) -> bool:
        """Whether the certificates of clients are logins."""
        return self.tls is not None and self.tls.client_ca is not None

    @model_validator(mode="before")
    @classmethod
    def _bare_paths_mean_docker_hub_where_it_is_an_upstream(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "upstreams" in given and not has_docker_hub(given["upstreams"]):
            return {"default_upstream": None, **given}
        return given

    @field_validator("listen")
    @classmethod
    def _open_on_purpose(cls, listen: Address, info: ValidationInfo) -> Address:
        given, tls = info.data.get("clients"), info.data.get("tls")
        faulty = given is None or "tls" not in info.data  # which is told for itself
        guarded = info.data.get("anonymous") is not False or faulty or (given is not None and given.given)
        if not listen.is_loopback and not guarded and (tls is None or not tls.client_ca):
            raise ValueError(
                "is open to others than this machine: set anonymous: true if everyone there may pull, or say how they "
                "log in by clients, or by certificates of tls.client_ca"
            )
        return listen

    @field_validator("loopback")
    @classmethod
    def _beside_and_on_loopback(cls, loopback: Address | None, info: ValidationInfo) -> Address | None:
        listen = info.data.get("listen")
        if loopback is None or listen is None:
            return loopback
        if not loopback.is_loopback:
            raise ValueError("is open to others than this machine: a plain listener beside listen stays on loopback")
        if loopback.port and loopback.port == listen.port and (loopback == listen or listen.is_any):
            raise ValueError("is the same address as listen")
        return loopback

    @field_validator("clients")
    @classmethod
    def _certificates_have_an_authority(cls, clients: ClientSettings, info: ValidationInfo) -> ClientSettings:
        tls = info.data.get("tls")
        if clients.certificates is not None and "tls" in info.data and (tls is None or tls.client_ca is None):
            raise Misfit([(("certificates",), "nobody's certificate is believed: name its authority in tls.client_ca")])
        return clients

    @property
    def tls_files(self) -> TlsFiles | None:
        """Of the pull listener; None where it is plain. A certificate is demanded where there is no other way in."""
        return self.tls.files(demanded=not self.anonymous and not self.clients.given) if self.tls is not None else None

    @property
    def certificate_names(self) -> CertificateNames:
        return (self.clients.certificates or CertificateSettings()).names

    @field_validator("admin")
    @classmethod
    def _admin_is_guarded(cls, admin: Address, info: ValidationInfo) -> Address:
        guarded = info.data.get("admin_public") is not False or info.data.get("admin_token_file", admin) is not None
        if not admin.is_loopback and not guarded:
            raise ValueError(
                "is open to others than this machine: name the token that they need in admin_token_file, or set "
                "admin_public: true if everyone there may have health and metrics"
            )
        if admin.port != 0 and admin in (info.data.get("listen"), info.data.get("loopback")):
            raise ValueError("is the same address as listen or loopback: the two APIs never share one")
        return admin

    @field_validator("upstreams")
    @classmethod
    def _each_within_what_all_share(
        cls, upstreams: dict[str, UpstreamSettings], info: ValidationInfo
    ) -> dict[str, UpstreamSettings]:
        if not {"timeouts", "egress"} <= info.data.keys():
            return upstreams  # they have faults of their own
        within = {
            name: upstream.within(info.data["timeouts"], info.data["egress"]) for name, upstream in upstreams.items()
        }
        overheard = [name for name, upstream in within.items() if upstream.is_overheard]
        if overheard:
            advice = f"{CLEAR}: name its host in egress.no_proxy, since its url is http"
            raise Misfit([((name, "egress"), advice) for name in overheard])
        return within

    @field_validator("savings")
    @classmethod
    def _ways_are_those_of_upstreams(cls, savings: SavingsSettings, info: ValidationInfo) -> SavingsSettings:
        strange = savings.upstreams.keys() - info.data.get("upstreams", savings.upstreams).keys()
        if strange:
            raise Misfit([(("upstreams", name), f"{name} is not one of the upstreams") for name in sorted(strange)])
        return savings

    @field_validator("default_upstream")
    @classmethod
    def _default_is_an_upstream(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and not {name, TIER} & info.data.get("upstreams", {name: None}).keys():
            raise ValueError(f"{name} is not one of the upstreams")
        return name
