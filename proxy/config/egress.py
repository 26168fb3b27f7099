"""The way out to registries, as it is written: a forward proxy, what goes round it, and whom to trust behind it."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from proxy.config.places import parse_url
from proxy.config.secrets import CertificateFile, LoginSource, SecretFile, SecretVariable
from proxy.config.section import Misfit, Section
from proxy.core.egress import Egress, parse_exception

_HALF_A_LOGIN = (
    "needs one of username, username_file and username_env, with one of password_file and password_env, or none of all"
)


def _proxy(written: str) -> str:
    if "@" in written:
        raise ValueError("a URL holds no user or password here: use username_file and password_file")
    return parse_url(written)


class EgressSettings(Section):
    """The way out. What is left out here the environment says: HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""

    proxy: (
        Annotated[str, AfterValidator(_proxy), WithJsonSchema({"type": "string", "pattern": "^https?://[^?#@]+$"})]
        | None
    ) = None
    """URL of a forward proxy, http or https, for every connection to registries, their token servers and AWS."""
    no_proxy: Annotated[tuple[Annotated[str, AfterValidator(parse_exception)], ...], Field(strict=False)] | None = None
    """What is reached straight: host (and all below it), .suffix, host:port, an address, 10.0.0.0/8; * for all."""
    username: Annotated[str, Field(min_length=1)] | None = None
    """The user at the proxy. At most one of username, username_file and username_env."""
    username_file: SecretFile | None = None
    """A file that holds the user."""
    username_env: SecretVariable | None = None
    """An environment variable that holds the user."""
    password_file: SecretFile | None = None
    """A file that holds the password; read again at each use. One of password_file and password_env."""
    password_env: SecretVariable | None = None
    """An environment variable that holds the password."""
    ca_file: CertificateFile | None = None
    """PEM file of certificate authorities to trust on the way through the proxy, beside the system's: for a proxy with
    https, and for one that opens TLS and signs anew."""

    @model_validator(mode="after")
    def _a_login_is_whole(self) -> Self:
        users = sum(source is not None for source in (self.username, self.username_file, self.username_env))
        passwords = sum(source is not None for source in (self.password_file, self.password_env))
        if (users, passwords) not in ((0, 0), (1, 1)):
            raise Misfit([((), _HALF_A_LOGIN)])
        if users and self.proxy is None:
            raise Misfit([((), "a user and password have no effect without proxy")])
        return self

    @property
    def rules(self) -> Egress:
        """For ``way_out``."""
        return Egress(self.proxy, self.no_proxy)

    @property
    def login(self) -> LoginSource | None:
        """Where user and password for ``proxy`` are, for ``read_login``; None where it asks for none."""
        if self.password_file is None and self.password_env is None:
            return None
        return LoginSource(self.username, self.username_file, self.username_env, self.password_file, self.password_env)
