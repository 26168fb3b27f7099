"""The registries that clients may reach through Entrepot, by name.

Credentials for AWS go to a host because of its name, so a name that only resembles an ECR host is refused.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from proxy.config.auth import AnonymousAuth, Auth, EcrAuth, EcrPublicAuth
from proxy.config.egress import EgressSettings
from proxy.config.places import Realms, Redirects, RegistryName, Url, canonical_name, host_of, is_on_loopback
from proxy.config.quantities import DAY, HOUR, Duration, OptionalDuration, PositiveDuration, PositiveSize
from proxy.config.secrets import CertificateFile
from proxy.config.section import KeyPath, Misfit, Section
from proxy.config.timeouts import TimeoutSettings
from proxy.core.ecr_names import is_ecr_public, looks_like_ecr, parse_ecr_host
from proxy.core.egress import way_out
from proxy.core.names import TIER

PUBLIC_REGISTRIES = (
    "docker.io",
    "gcr.io",
    "ghcr.io",
    "mcr.microsoft.com",
    "nvcr.io",
    "public.ecr.aws",
    "quay.io",
    "registry.gitlab.com",
    "registry.k8s.io",
)
"""The upstreams of a configuration that names none."""

PUBLIC = "public"
"""The trust group of the well-known public registries."""
TrustGroup = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]

_NAME = "(name)"  # stands in a mapping for its own key; no user writes it
_URLS = {"docker.io": "https://registry-1.docker.io"}
_LOOKALIKE = (
    "looks like an ECR registry but is none, so it would get no credentials: ACCOUNT.dkr.ecr.REGION.amazonaws.com"
)
_REGION_NEEDED = "is needed: the name is not that of an ECR registry"


_ACCESS_TTL = "5m"
CLEAR = "clients' credentials would be open to whoever is on the way"
"""Why access: upstream is refused where something is not sealed."""


def _is_private(written: str | None) -> bool:
    """Whether nobody on the way reads what is sent there."""
    return not (written or "").startswith("http://") or is_on_loopback(written or "")


def _concrete(name: str) -> str:
    """A host of the kind that ``name`` stands for."""
    return host_of(name.replace("*", "0" * 12, 1))


def _is_endpoint(host: str) -> bool:
    """A VPC interface endpoint's own name, which only ever stands in a url."""
    return host.endswith((".vpce.amazonaws.com", ".vpce.amazonaws.com.cn"))


class UpstreamSettings(Section):
    """One registry, with a leading star all registries of one form, or as a star alone the cache or registry that all
    other names are asked of. An empty value takes the defaults."""

    name: SkipJsonSchema[RegistryName] = Field(alias=_NAME, exclude=True)
    """The canonical name, a pattern whose first label is a star, or the star alone."""
    url: Url | None = None
    """Where the registry is; follows from the name: https://NAME. Not for names that begin with a star and a dot; the
    star alone needs one."""
    forward: Literal["ns", "path"] | None = None
    """The url is that of another cache, or of a registry that holds several, which is told whose content is meant: ns
    adds ?ns=NAME as containerd does, path puts NAME in front of the repository. Left out: the registry itself is there;
    of the star alone: ns."""
    auth: Auth = Field(default_factory=lambda: AnonymousAuth(type="anonymous"))
    """How to sign in. Without it: ecr for an ECR name, otherwise anonymous."""
    ca_file: CertificateFile | None = None
    """PEM file of certificate authorities to trust for this registry, beside the system's."""
    insecure: bool = False
    """Do not verify the certificate of the host and port of url. Anyone on the way can then read credentials."""
    timeouts: TimeoutSettings = Field(default_factory=TimeoutSettings)
    """How long this registry may take; what is left out follows the timeouts of all registries."""
    egress: EgressSettings = Field(default_factory=EgressSettings)
    """The way out to this registry, instead of the one of all registries."""
    access: Literal["cache", "upstream"] = "cache"
    """Who decides what may be pulled from it. upstream: the registry itself, which is asked with each client's own
    credential, and with nothing else; clients and allow do not count there."""
    access_ttl: PositiveDuration = DAY
    """How long a yes of the registry to one of its repositories holds. Then it is asked again, behind the next pull.
    With access: upstream, a yes to one client's credential: 5m, and then it is asked before the next pull."""
    access_stale: Duration = HOUR
    """With access: upstream, how long a yes goes on to hold while the registry does not answer, counted from when it
    was given."""
    trust: TrustGroup | None = None
    """Name of a group of registries that are believed when they say to have what another of the group brought. Without
    it: public for the well-known public registries, otherwise each registry believes only itself."""
    offline: bool | None = None
    """Never ask this registry: serve what is held, however old, and nothing else. Left out: as all registries."""
    max_size: PositiveSize | None = None
    """Most bytes of the cache that content of this registry may take; no bound of its own when left out."""
    realms: Realms = ()
    """Further hosts that credentials may be sent to when the registry names them as its token realm: host, host:port,
    or with http:// before it; https is meant otherwise."""
    redirects: Redirects = ()
    """Hosts that are not on the internet and to which the registry may send us for blobs: host, or host:port where the
    port is not the scheme's own. Registries on this machine may lead to any port of it."""
    push_times: bool = False
    """Let lifecycle rules count an image's age from its push to Amazon ECR (ecr:DescribeImages). Without it an image
    counts as pushed when it was first cached."""
    touch_upstream: OptionalDuration = None
    """How often a manifest in use is fetched anew, so that the registry's own records show it as pulled."""

    @model_validator(mode="before")
    @classmethod
    def _what_is_decided_upstream_is_asked_often(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("access") == "upstream":
            return {"access_ttl": _ACCESS_TTL, **given}
        return given

    @model_validator(mode="before")
    @classmethod
    def _an_ecr_name_needs_no_auth(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("access") == "upstream" and given.get("auth") is None:
            return {**given, "auth": {"type": "anonymous"}}
        if isinstance(given, dict) and given.get("auth") is None and given.get("forward") is None:
            ecr = parse_ecr_host(_concrete(str(given.get(_NAME, "")).lower())) is not None
            return {**given, "auth": {"type": "ecr" if ecr else "anonymous"}}
        return given

    @model_validator(mode="after")
    def _is_reachable_and_trustworthy(self) -> Self:
        parts: list[tuple[KeyPath, str]] = []
        if self.name.startswith("*.") and self.url is not None:
            parts.append((("url",), "a name with a star has no url: it follows from each host"))
        if self.url is None and self.name == TIER:
            parts.append((("url",), "is needed: it is where all other names are asked"))
        elif self.url is None and self.forward is not None:
            parts.append((("forward",), "names go on only to a url that is given"))
        parts += self._ecr_faults() + self._access_faults()
        if parts:
            raise Misfit(parts)
        return self

    def _ecr_faults(self) -> list[tuple[KeyPath, str]]:
        target = host_of(self.url or "")
        name = _concrete(self.name) if self.forwarding is None else target  # signed in to is whoever is asked
        lookalike = looks_like_ecr(name)
        if lookalike and self.url is None:
            return [((), _LOOKALIKE)]
        if isinstance(self.auth, EcrPublicAuth) and not (is_ecr_public(name) or is_ecr_public(target)):
            return [(("auth", "type"), "is only for public.ecr.aws and ecr-public.aws.com")]
        if not isinstance(self.auth, EcrAuth):
            return [(("push_times",), "is only to be had from Amazon ECR")] if self.push_times else []
        if lookalike:
            return [((), _LOOKALIKE)]
        if looks_like_ecr(target) and not _is_endpoint(target):
            return [(("url",), _LOOKALIKE)]
        known = any(parse_ecr_host(host) is not None for host in (name, target))
        return [] if known or self.auth.region else [(("auth", "region"), _REGION_NEEDED)]

    def _access_faults(self) -> list[tuple[KeyPath, str]]:
        """Why clients' credentials cannot go there."""
        if not self.by_client:
            return []
        parts: list[tuple[KeyPath, str]] = []
        if not isinstance(self.auth, AnonymousAuth):
            parts.append((("auth",), "has no place beside access: upstream: each client's own credential is sent"))
        if self.forwarding is not None:
            parts.append((("access",), "upstream is only for the registry itself: credentials go to no other cache"))
        if not _is_private(self.url):
            parts.append((("url",), f"{CLEAR}: use https, or a url on loopback"))
        if self.insecure and not is_on_loopback(self.url or ""):
            parts.append((("insecure",), f"{CLEAR}: name its authority in ca_file instead"))
        if not all(map(_is_private, self.realms)):
            parts.append((("realms",), f"{CLEAR}: leave http:// out, but on loopback"))
        return parts

    @property
    def by_client(self) -> bool:
        """Whether each client's own credential decides."""
        return self.access == "upstream"

    @property
    def is_overheard(self) -> bool:
        """Whether a forward proxy of the configuration would read clients' credentials on their way."""
        clear = [urlsplit(url) for url in (self.url or "", *self.realms) if url.startswith("http://")]
        ways = (way_out(self.egress.rules, {}, "http", url.hostname or "", url.port or 80) for url in clear)
        return self.by_client and any(ways)

    def within(self, timeouts: TimeoutSettings, egress: EgressSettings) -> "UpstreamSettings":
        """This upstream, where it says nothing of its own as all registries are."""
        egress = self.egress if self.egress.model_fields_set else egress
        return self.model_copy(update={"timeouts": timeouts.refined(self.timeouts), "egress": egress})

    @property
    def forwarding(self) -> Literal["ns", "path"] | None:
        """How the name of the registry goes on to the url; None where the registry itself is there."""
        return self.forward or ("ns" if self.name == TIER else None)

    def trust_domain(self, host: str) -> str:
        """Of the registry that clients call ``host``, which is the name or matches it: what upstreams with the same one
        say of each other's bytes is believed."""
        group = self.trust or (PUBLIC if host in PUBLIC_REGISTRIES else None)
        return f"group {group}" if group is not None else host

    def base_url(self, host: str) -> str:
        """Where is asked for the registry that clients call ``host``, which is the name or matches it."""
        return self.url or self.usual_url(host)

    def own_url(self, host: str) -> str:
        """Where the registry itself is, whoever is asked in its place."""
        return self.usual_url(host) if self.forwarding is not None else self.base_url(host)

    @staticmethod
    def usual_url(host: str) -> str:
        """Where a registry of this name is by itself."""
        return _URLS.get(host, f"https://{host}")


def _named(given: Any) -> Any:
    """Each value learns its key, and an empty value becomes an empty mapping."""
    if not isinstance(given, dict):
        return given
    return {
        key: {**({} if value is None else value), _NAME: key} if value is None or isinstance(value, dict) else value
        for key, value in given.items()
    }


def _by_canonical_name(given: dict[str, UpstreamSettings]) -> dict[str, UpstreamSettings]:
    first: dict[str, str] = {}
    doubles = [
        ((key,), f"is the same registry as {first[upstream.name]}: leave one of them out")
        for key, upstream in given.items()
        if first.setdefault(upstream.name, key) != key
    ]
    if doubles:
        raise Misfit(doubles)
    return {upstream.name: _with_url(upstream) for upstream in given.values()}


def _with_url(upstream: UpstreamSettings) -> UpstreamSettings:
    if upstream.url is not None or upstream.name.startswith("*."):
        return upstream
    return upstream.model_copy(update={"url": upstream.base_url(upstream.name)})


def _null_is_allowed(schema: dict[str, Any]) -> None:
    schema["additionalProperties"] = {"anyOf": [schema["additionalProperties"], {"type": "null"}]}


def public_upstreams() -> dict[str, UpstreamSettings]:
    """Those of a configuration that names none, without credentials."""
    return {name: _with_url(UpstreamSettings.model_validate({_NAME: name})) for name in PUBLIC_REGISTRIES}


def has_docker_hub(given: object) -> bool:
    """Whether upstreams as written name Docker Hub, by whichever of its names, or all registries."""
    for key in given if isinstance(given, Mapping) else ():
        try:
            if canonical_name(str(key)) in ("docker.io", TIER):
                return True
        except ValueError:
            continue
    return False


Upstreams = Annotated[
    dict[str, UpstreamSettings],
    Field(min_length=1, json_schema_extra=_null_is_allowed),
    BeforeValidator(_named),
    AfterValidator(_by_canonical_name),
]
