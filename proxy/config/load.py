"""From a file and an environment to settings, or to every fault at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from proxy.config.document import SIZE_LIMIT, Document, parse_document
from proxy.config.doubts import doubts, exposed
from proxy.config.faults import ConfigFault, ConfigInvalid, faults_of
from proxy.config.files import FileRefused, read_file
from proxy.config.overrides import CONFIG_VARIABLE, override
from proxy.config.schema import known_keys
from proxy.config.secrets import SecretCheck, SecretSource, Surroundings, check_secret
from proxy.config.section import KeyPath
from proxy.config.settings import Settings


class Loaded(NamedTuple):
    """Settings, and what is to be known of how they came about."""

    settings: Settings
    source: Path | None  # the file, if there was one
    warnings: tuple[str, ...]  # sentences: what is allowed and yet likely a mistake


class AdminAddress(NamedTuple):
    """Where commands ask the running proxy: ``unix:`` and its socket, or host and port; and the file with the token
    that it may want to see, which whoever asks may not be able to read."""

    url: str
    token_file: Path | None


_ADMIN_KEYS = frozenset({"listen", "admin_public", "admin_token_file", "admin", "admin_socket"})


def load(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """The settings of the file, or of the one that ENTREPOT_CONFIG names, or the defaults.

    Raises ConfigInvalid. Reads files: blocks.
    """
    path = _source(path, environ)
    return _checked(_written(path, environ), path, environ, check_secret)


def load_content(content: bytes, path: Path, environ: Mapping[str, str]) -> Loaded:
    """As ``load``, of a file that would be there and hold that."""
    return _checked(_overridden(parse_document(content), environ), path, environ, check_secret)


def load_without_secrets(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """As ``load``, where secrets need not be readable: for whoever looks at a configuration, and does not sign in by it
    unless it can."""
    path = _source(path, environ)
    return _checked(_written(path, environ), path, environ, _need_not)


def admin_address(path: Path | None, environ: Mapping[str, str]) -> AdminAddress:
    """Of the proxy of this configuration: its socket where it has one, which needs no token. All other settings may be
    faulty.

    Raises ConfigInvalid. Reads a file: blocks.
    """
    path = _source(path, environ)
    written = _written(path, environ)
    faults = written.faults
    tree = {key: value for key, value in written.document.tree.items() if key in _ADMIN_KEYS}
    try:
        if not written.document.faults:
            context = Surroundings(folder=_folder(path), environ=environ, secret=_need_not, secret_files=set())
            # Whoever may pull there may not be known by what else is wrong.
            whole = {**tree, "anonymous": True, "cache": {"path": "/"}}
            settings = Settings.model_validate(whole, context=context)
            if settings.admin_socket is not None:
                return AdminAddress(f"unix:{settings.admin_socket}", None)
            return AdminAddress(str(settings.admin), settings.admin_token_file)
    except pydantic.ValidationError as error:
        faults += faults_of(error, tree, written.origins, known_keys())
    raise ConfigInvalid(str(path) if path is not None else "environment", faults)


def _need_not(source: SecretSource, environ: Mapping[str, str]) -> None:
    """Of secrets that nobody has to read."""


def _source(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    return Path(environ[CONFIG_VARIABLE]) if path is None and environ.get(CONFIG_VARIABLE) else path


class _Written(NamedTuple):
    """A configuration as it stands in file and environment, not judged yet."""

    document: Document
    origins: dict[KeyPath, int | str]
    faults: list[ConfigFault]
    warnings: list[str]


def _written(path: Path | None, environ: Mapping[str, str]) -> _Written:
    return _overridden(_document(path) if path is not None else Document({}, {}, []), environ)


def _overridden(document: Document, environ: Mapping[str, str]) -> _Written:
    origins: dict[KeyPath, int | str] = dict(document.lines)
    overridden = override(document.tree, origins, environ)
    return _Written(document, origins, [*document.faults, *overridden.faults], overridden.warnings)


def _document(path: Path) -> Document:
    try:
        return parse_document(read_file(path, SIZE_LIMIT))
    except FileRefused as refused:
        raise ConfigInvalid(str(path), [ConfigFault("", None, str(refused))]) from None


def _checked(written: _Written, path: Path | None, environ: Mapping[str, str], secret: SecretCheck) -> Loaded:
    document, origins, faults, warnings = written
    tree = document.tree
    _place_cache(tree, environ)
    try:
        context = Surroundings(folder=_folder(path), environ=environ, secret=secret, secret_files=set())
        settings = Settings.model_validate(tree, context=context)
    except pydantic.ValidationError as error:
        faults += faults_of(error, tree, origins, known_keys())
    if faults:
        raise ConfigInvalid(str(path) if path is not None else "environment", faults)
    return Loaded(settings, path, (*warnings, *doubts(settings, environ), *exposed(context["secret_files"])))


def _folder(path: Path | None) -> Path:
    """From which relative files are meant."""
    return path.absolute().parent if path is not None else Path.cwd()


def _place_cache(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """The cache folder by the XDG base directory specification, which passes over relative values."""
    base = environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(environ.get("HOME", ""), ".cache")
    cache = tree.setdefault("cache", {})
    if isinstance(cache, dict) and os.path.isabs(base):
        cache.setdefault("path", f"{base}/entrepot")
