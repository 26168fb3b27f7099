"""Files and variables that the configuration names, and the secrets in them.

A secret is read anew at each use, so a rotated file needs no restart, and leaves here only as a ``SecretStr``.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple, TypedDict

from pydantic import AfterValidator, PlainSerializer, PlainValidator, SecretStr, ValidationInfo, WithJsonSchema

from proxy.bundles.signatures import KEY_LIMIT, PublicKey, public_key
from proxy.config.files import FileRefused, read_file, read_file_off_loop
from proxy.config.section import Misfit
from proxy.core.credentials import Credentials
from proxy.core.docker_config import LARGEST, DockerConfigInvalid, parse_docker_config

_SECRET_LIMIT = 64 * 1024


class SecretSource(NamedTuple):
    """Where a secret is: exactly one of the two."""

    file: Path | None
    variable: str | None


class LoginSource(NamedTuple):
    """Where a user and a password are. Of the first three exactly one is given, and of the last two."""

    username: str | None
    username_file: Path | None
    username_env: str | None
    password_file: Path | None
    password_env: str | None


async def read_login(source: LoginSource, environ: Mapping[str, str]) -> Credentials:
    """User and password as they are now. Raises FileRefused."""
    username = source.username
    if username is None:
        user = await read_secret(SecretSource(source.username_file, source.username_env), environ)
        username = user.get_secret_value()
    password = await read_secret(SecretSource(source.password_file, source.password_env), environ)
    return Credentials(username, password.get_secret_value())


async def read_secret(source: SecretSource, environ: Mapping[str, str]) -> SecretStr:
    """The secret as it is now, without one line end at its end. Raises FileRefused."""
    content = await read_file_off_loop(source.file, _SECRET_LIMIT) if source.file is not None else None
    return _secret(source, content, environ)


def check_secret(source: SecretSource, environ: Mapping[str, str]) -> None:
    """Raises FileRefused where ``read_secret`` would. Blocks for one small file."""
    _secret(source, read_file(source.file, _SECRET_LIMIT) if source.file is not None else None, environ)


def _secret(source: SecretSource, content: bytes | None, environ: Mapping[str, str]) -> SecretStr:
    try:
        text = content.decode() if content is not None else environ.get(source.variable or "", "")
    except UnicodeDecodeError:
        raise FileRefused(f"{source.file} is not UTF-8") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        where = source.file if source.file is not None else f"the environment variable {source.variable}"
        raise FileRefused(f"{where} holds nothing")
    return SecretStr(secret)


SecretCheck = Callable[[SecretSource, Mapping[str, str]], object]
"""Raises FileRefused where a secret must be readable and is not."""


class Surroundings(TypedDict):
    """What validation may look at beside the values themselves."""

    folder: Path  # relative files are meant from here
    environ: Mapping[str, str]
    secret: SecretCheck
    secret_files: set[Path]  # those that were met


def surroundings(info: ValidationInfo) -> Surroundings:
    """Those of a validation, or what stands in for them."""
    return info.context or Surroundings(folder=Path.cwd(), environ=os.environ, secret=check_secret, secret_files=set())


def resolved(written: object, info: ValidationInfo) -> Path:
    """A file by its name. Raises ValueError with advice."""
    if not isinstance(written, str | Path) or not str(written) or "\0" in str(written):
        raise ValueError("not a file name")
    try:
        return surroundings(info)["folder"] / Path(written).expanduser()
    except RuntimeError:
        raise ValueError("the home folder is not known: write the whole path") from None


def _readable_secret(file: Path, info: ValidationInfo) -> Path:
    around = surroundings(info)
    around["secret_files"].add(file)
    around["secret"](SecretSource(file, None), {})
    return file


_LEAST_TOKEN = 16  # characters


async def read_admin_token(file: Path) -> SecretStr:
    """As it is now. Raises FileRefused."""
    return _token(file, await read_secret(SecretSource(file, None), {}))


def admin_token(file: Path) -> SecretStr:
    """As ``read_admin_token``. Blocks for one small file."""
    return _token(file, _secret(SecretSource(file, None), read_file(file, _SECRET_LIMIT), {}))


def _token(file: Path, secret: SecretStr) -> SecretStr:
    """What fits into a header, and nobody guesses."""
    word = secret.get_secret_value()
    if len(word) < _LEAST_TOKEN or not word.isascii() or not word.isprintable() or " " in word:
        raise FileRefused(f"{file} holds no token: one line of {_LEAST_TOKEN} characters or more, without spaces")
    return secret


def _readable_token(file: Path, info: ValidationInfo) -> Path:
    _readable_secret(file, info)
    try:
        content = read_file(file, _SECRET_LIMIT)
    except FileRefused:
        return file  # by whoever need not read it
    _token(file, _secret(SecretSource(file, None), content, {}))
    return file


def _set_variable(variable: str, info: ValidationInfo) -> str:
    around = surroundings(info)
    around["secret"](SecretSource(None, variable), around["environ"])
    return variable


def demand_certificates(pem: bytes) -> None:
    """Raises ValueError where there are none that a TLS context takes."""
    # Bundles carry the authorities' names as comments, some beyond ASCII.
    text = pem.decode("ascii", "ignore")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except ssl.SSLError as wrong:
        raise ValueError(str(wrong)) from None


def _certificates(file: Path) -> Path:
    pem = read_file(file, 4 * 1024 * 1024)
    try:
        demand_certificates(pem)
    except ValueError:
        raise ValueError(f"{file} holds no PEM certificates") from None
    return file


def read_public_key(file: Path) -> PublicKey:
    """A key whose signature is to count. Raises FileRefused. Blocks for one small file."""
    pem = read_file(file, KEY_LIMIT)
    try:
        return public_key(pem)
    except ValueError as wrong:
        raise FileRefused(f"{file} holds {wrong}") from None


class KeyFile(NamedTuple):
    """A file with a public key, and the key that it held when the settings were made."""

    path: Path
    key: PublicKey


def _key_file(written: object, info: ValidationInfo) -> KeyFile:
    path = resolved(written, info)
    return KeyFile(path, read_public_key(path))


FilePath = Annotated[
    Path,
    PlainValidator(resolved),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
"""A path; relative ones are meant from the folder of the configuration file."""


_LONGEST_SOCKET = 107  # bytes; unix(7), "sun_path"


def _socket_path(path: Path) -> Path:
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        raise ValueError(f"the path of a Unix socket has at most {_LONGEST_SOCKET} bytes")
    return path


def _docker_config(file: Path, info: ValidationInfo) -> Path:
    surroundings(info)["secret_files"].add(file)
    try:
        faults = list(parse_docker_config(read_file(file, LARGEST)).faults())
    except DockerConfigInvalid as invalid:
        faults = [str(invalid)]
    if faults:
        raise Misfit([((), f"{file}: {sentence}") for sentence in faults])
    return file


SocketPath = Annotated[FilePath, AfterValidator(_socket_path)]
SecretFile = Annotated[FilePath, AfterValidator(_readable_secret)]
AdminTokenFile = Annotated[FilePath, AfterValidator(_readable_token)]
SecretVariable = Annotated[str, AfterValidator(_set_variable)]
CertificateFile = Annotated[FilePath, AfterValidator(_certificates)]
PublicKeyFile = Annotated[
    KeyFile,
    PlainValidator(_key_file),
    PlainSerializer(lambda file: str(file.path), return_type=str),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
DockerConfigFile = Annotated[FilePath, AfterValidator(_docker_config)]
