"""Who may pull: how clients log in, and the rules by what they prove. Nothing here holds a secret."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from proxy.config.files import FileRefused, read_file
from proxy.config.places import Address, host_of, parse_url
from proxy.config.secrets import CertificateFile, FilePath, SecretSource, resolved, surroundings
from proxy.config.section import Section
from proxy.core.allow import EVERYBODY, EVERYTHING, AllowRule
from proxy.core.certificates import CertificateNames
from proxy.core.htpasswd import HTPASSWD_LARGEST, parse_htpasswd
from proxy.core.rates import parse_rate
from proxy.login import key_sets, token_keys
from proxy.login.key_sets import KeySet
from proxy.login.token_keys import TokenKeys

_WHO = re.compile(r"(?:user|group):[^\s\x00-\x1f]{1,1024}")
_PULL = re.compile(r"[A-Za-z0-9*?][A-Za-z0-9._:*?-]*(?:/[A-Za-z0-9._*?-]+)+", re.ASCII)
_LONGEST = 512
Attribute = Literal["cn", "ou", "o", "uid", "email"]


def _who(written: str) -> str:
    if written != EVERYBODY and _WHO.fullmatch(written) is None:
        raise ValueError('not somebody: write anonymous, user:NAME, "user:*" for any login, or group:NAME')
    return written


def _pull(written: str) -> str:
    if written != EVERYTHING and (len(written) > _LONGEST or _PULL.fullmatch(written) is None):
        raise ValueError(
            "not a pattern over REGISTRY/REPOSITORY, such as docker.io/library/*: a star stays within one part of the "
            "path, a final /* means everything below"
        )
    return written


def _some(written: tuple[str, ...]) -> tuple[str, ...]:
    if not written:
        raise ValueError("must not be empty: name at least one")
    return written


def _rate(written: object) -> int:
    if isinstance(written, bool) or not isinstance(written, str | int):
        raise ValueError("not a rate: write bytes per second, such as 100MB/s, 20MiB/s or 1Gbit/s")
    return parse_rate(written)


def _htpasswd(file: Path, info: ValidationInfo) -> Path:
    content = _content(file, HTPASSWD_LARGEST, info)
    if content is not None:
        _demand(file, lambda: parse_htpasswd(content))
    return file


def _token_keys(file: Path, info: ValidationInfo) -> Path:
    content = _content(file, token_keys.LARGEST, info)
    if content is not None:
        _demand(file, lambda: TokenKeys.parse(content))
    return file


def _jwks(written: object, info: ValidationInfo) -> Path | str:
    if isinstance(written, str) and "://" in written:
        url = parse_url(written)
        if url.startswith("http://") and not Address(host_of(url), 0).is_loopback:
            raise ValueError("keys that came by http could be anybody's: write https, or the name of a file")
        return url
    file = resolved(written, info)
    content = read_file(file, key_sets.LARGEST)
    _demand(file, lambda: KeySet.parse(content))
    return file


def _content(file: Path, limit: int, info: ValidationInfo) -> bytes | None:
    """None where it cannot be read, and need not be."""
    around = surroundings(info)
    around["secret_files"].add(file)
    try:
        return read_file(file, limit)
    except FileRefused:
        around["secret"](SecretSource(file, None), {})
        return None


def _demand(file: Path, parse: Callable[[], object]) -> None:
    try:
        parse()
    except ValueError as wrong:
        raise ValueError(f"{file}: {wrong}") from None


Jwks = Annotated[
    Path | str,
    PlainValidator(_jwks),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
HtpasswdFile = Annotated[FilePath, AfterValidator(_htpasswd)]
TokenKeyFile = Annotated[FilePath, AfterValidator(_token_keys)]
Rate = Annotated[
    int,
    PlainValidator(_rate),
    PlainSerializer(lambda rate: f"{rate}B/s", return_type=str),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}]}),
]
_Text = Annotated[str, Field(min_length=1, max_length=1024)]


class TokenIssuerSettings(Section):
    """An issuer whose tokens (JWT) count as logins; the caller is what the token's sub says."""

    issuer: _Text
    """The iss of its tokens, letter by letter."""
    audience: _Text
    """What must be among the aud of a token."""
    jwks: Jwks
    """Its public keys (JSON Web Key Set): an https URL, fetched anew every five minutes and when a token names a key
    that is not known; or a file, read again when it changes."""
    groups: _Text | None = None
    """The claim that lists the caller's groups. Without it there are none."""
    ca_file: CertificateFile | None = None
    """PEM file of certificate authorities that may vouch for the URL of jwks, beside the system's."""


class CertificateSettings(Section):
    """What the subject of a client's certificate says of a caller, where tls.client_ca is given."""

    name: Attribute = "cn"
    """The attribute with the caller's name."""
    groups: Attribute = "ou"
    """The attribute with the caller's groups; there may be several."""

    @property
    def names(self) -> CertificateNames:
        return CertificateNames(self.name, self.groups)


class ClientSettings(Section):
    """How clients log in. Without any of it, and without tls.client_ca, nobody can, and all are anonymous."""

    htpasswd: HtpasswdFile | None = None
    """File of users and their passwords, hashed by bcrypt (htpasswd -B); read again when it changes."""
    tokens: Annotated[tuple[TokenIssuerSettings, ...], Field(strict=False)] = ()
    """Issuers whose tokens count, sent as Bearer, or as the password of any user that htpasswd does not know."""

    certificates: CertificateSettings | None = None
    """The caller's name and groups in a client's certificate, which tls.client_ca vouches for. Without it: cn and
    ou."""

    @property
    def given(self) -> bool:
        """Whether there is a way to log in beside certificates."""
        return self.htpasswd is not None or bool(self.tokens)


class AllowSettings(Section):
    """One rule: who may pull what. The first that fits holds."""

    who: Annotated[tuple[Annotated[str, AfterValidator(_who)], ...], Field(strict=False), AfterValidator(_some)]
    """anonymous (everybody), user:NAME, "user:*" (any login), group:NAME."""
    pull: Annotated[tuple[Annotated[str, AfterValidator(_pull)], ...], Field(strict=False), AfterValidator(_some)]
    """Patterns over REGISTRY/REPOSITORY. A star stays within one part of the path; a final /* means all below."""
    rate: Rate | None = None
    """Most bytes per second that each caller is sent."""
    fills: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Most blobs at a time that have to be fetched for each caller."""

    @property
    def rule(self) -> AllowRule:
        """As it is decided by."""
        return AllowRule(self.who, self.pull, self.rate, self.fills)
