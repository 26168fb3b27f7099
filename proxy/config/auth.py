"""How Entrepot proves itself to an upstream. Nothing here holds a secret: only where one is found."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from proxy.config.places import Url
from proxy.config.secrets import DockerConfigFile, LoginSource, SecretFile, SecretVariable, read_login
from proxy.config.section import Misfit, Section
from proxy.core.credentials import Credentials


def _matching(pattern: str, sentence: str) -> AfterValidator:
    grammar = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if grammar.fullmatch(value) is None:
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


# Form of ARNs and external ids: IAM API reference, AssumeRole.
RoleArn = Annotated[
    str,
    _matching(
        r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}",
        "not the ARN of a role: arn:aws:iam::123456789012:role/NAME",
    ),
]
ExternalId = Annotated[
    str, _matching(r"[\w+=,.@:/-]{2,1224}", "not an external id: 2 to 1224 of A-Z a-z 0-9 + = , . @ : / - _")
]
Region = Annotated[str, _matching(r"[a-z]{2,}(-[a-z0-9]+)+-[0-9]+", "not a region, such as eu-central-1")]


class AnonymousAuth(Section):
    """No credentials; anonymous tokens are fetched where the registry asks for them."""

    type: Literal["anonymous"]
    """No credentials."""


class BasicAuth(Section):
    """User and password, sent to the registry's token realm or as Basic."""

    type: Literal["basic"]
    """User and password."""
    username: Annotated[str, Field(min_length=1)] | None = None
    """The user. One of username, username_file and username_env."""
    username_file: SecretFile | None = None
    """A file that holds the user."""
    username_env: SecretVariable | None = None
    """An environment variable that holds the user."""
    password_file: SecretFile | None = None
    """A file that holds the password or token; read again at each use. One of password_file and password_env."""
    password_env: SecretVariable | None = None
    """An environment variable that holds the password or token."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        parts = []
        if sum(source is not None for source in (self.username, self.username_file, self.username_env)) != 1:
            parts.append("needs exactly one of username, username_file and username_env")
        if sum(source is not None for source in (self.password_file, self.password_env)) != 1:
            parts.append("needs exactly one of password_file and password_env")
        if parts:
            raise Misfit([((), sentence) for sentence in parts])
        return self

    @property
    def login(self) -> LoginSource:
        """Where user and password are."""
        return LoginSource(self.username, self.username_file, self.username_env, self.password_file, self.password_env)


async def read_credentials(auth: BasicAuth, environ: Mapping[str, str]) -> Credentials:
    """User and password as they are now. Raises FileRefused."""
    return await read_login(auth.login, environ)


class DockerConfigAuth(Section):
    """The login that a Docker config.json or a Kubernetes .dockerconfigjson has for the registry."""

    type: Literal["dockerconfig"]
    """A Docker config.json or a Kubernetes .dockerconfigjson."""
    file: DockerConfigFile
    """The file; read again when it changes. The entry with the longest path holds; credHelpers and credsStore run
    docker-credential-NAME where it is installed. Without an entry pulls are anonymous."""


class _AwsAuth(Section):
    """What signing in with AWS credentials may need; without any key the SDK's default chain finds them."""

    region: Region | None = None
    """AWS region of the token API; follows from an ECR name."""
    role_arn: RoleArn | None = None
    """IAM role to assume before asking for tokens, for registries of other accounts."""
    external_id: ExternalId | None = None
    """External id that the role's trust policy asks for."""
    profile: Annotated[str, Field(min_length=1)] | None = None
    """Profile of the shared AWS configuration to take credentials from."""
    endpoint_url: Url | None = None
    """Address of the token API, for VPC endpoints without private DNS."""

    @model_validator(mode="after")
    def _external_id_has_a_role(self) -> Self:
        if self.external_id is not None and self.role_arn is None:
            raise Misfit([(("external_id",), "has no effect without role_arn")])
        return self


class EcrAuth(_AwsAuth):
    """Amazon ECR private: tokens from GetAuthorizationToken, refreshed before they expire."""

    type: Literal["ecr"]
    """Amazon ECR private."""


class EcrPublicAuth(_AwsAuth):
    """ECR Public with AWS credentials, for higher limits than anonymous pulls have."""

    type: Literal["ecr-public"]
    """ECR Public, signed in."""


Auth = Annotated[AnonymousAuth | BasicAuth | DockerConfigAuth | EcrAuth | EcrPublicAuth, Field(discriminator="type")]
