"""Files and variables that the configuration names, and the secrets in them.

A secret is read anew at each use, so a rotated file needs no restart, and leaves here only as a ``SecretStr``.
"""

import os
import ssl
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple, TypedDict

from pydantic import AfterValidator, PlainSerializer, PlainValidator, SecretStr, ValidationInfo, WithJsonSchema

_SECRET_LIMIT = 64 * 1024


class FileRefused(ValueError):
    """A file that cannot or must not be read; a sentence says why, without its contents."""


def read_file(path: Path, limit: int) -> bytes:
    """The whole of a regular file of at most ``limit`` bytes that not everybody may write to. Raises FileRefused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise FileRefused(f"{path} is not a regular file")
            if mode & stat.S_IWOTH:
                raise FileRefused(f"{path} may be written by everybody: chmod o-w")
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, FileRefused):
            raise
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise FileRefused(f"cannot read {path}: {reason}") from None
    if len(content) > limit:
        raise FileRefused(f"{path} is larger than {limit} bytes")
    return content


class SecretSource(NamedTuple):
    """Where a secret is: exactly one of the two."""

    file: Path | None
    variable: str | None


def read_secret(source: SecretSource, environ: Mapping[str, str]) -> SecretStr:
    """The secret as it is now, without one line end at its end. Raises FileRefused. Blocks for one small file."""
    if source.file is not None:
        try:
            text = read_file(source.file, _SECRET_LIMIT).decode()
        except UnicodeDecodeError:
            raise FileRefused(f"{source.file} is not UTF-8") from None
    else:
        text = environ.get(source.variable or "", "")
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


def _surroundings(info: ValidationInfo) -> Surroundings:
    return info.context or Surroundings(folder=Path.cwd(), environ=os.environ, secret=read_secret)


def _resolved(written: object, info: ValidationInfo) -> Path:
    if not isinstance(written, str | Path) or not str(written) or "\0" in str(written):
        raise ValueError("not a file name")
    try:
        return _surroundings(info)["folder"] / Path(written).expanduser()
    except RuntimeError:
        raise ValueError("the home folder is not known: write the whole path") from None


def _readable_secret(file: Path, info: ValidationInfo) -> Path:
    _surroundings(info)["secret"](SecretSource(file, None), {})
    return file


def _set_variable(variable: str, info: ValidationInfo) -> str:
    surroundings = _surroundings(info)
    surroundings["secret"](SecretSource(None, variable), surroundings["environ"])
    return variable


def _certificates(file: Path) -> Path:
    # Bundles carry the authorities' names as comments, some beyond ASCII.
    pem = read_file(file, 4 * 1024 * 1024)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise ValueError(f"{file} holds no PEM certificates") from None
    return file


FilePath = Annotated[
    Path,
    PlainValidator(_resolved),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
"""A path; relative ones are meant from the folder of the configuration file."""

SecretFile = Annotated[FilePath, AfterValidator(_readable_secret)]
SecretVariable = Annotated[str, AfterValidator(_set_variable)]
CertificateFile = Annotated[FilePath, AfterValidator(_certificates)]
