"""From a file and an environment to settings, or to every fault at once."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from proxy.config.auth import BasicAuth
from proxy.config.document import SIZE_LIMIT, Document, parse_document
from proxy.config.faults import ConfigFault, ConfigInvalid, faults_of
from proxy.config.overrides import CONFIG_VARIABLE, ignored_variables, override
from proxy.config.places import Address
from proxy.config.schema import known_keys
from proxy.config.secrets import FileRefused, SecretCheck, Surroundings, read_file, read_secret
from proxy.config.section import KeyPath
from proxy.config.settings import Settings


class Loaded(NamedTuple):
    settings: Settings
    source: Path | None  # the file, if there was one
    ignored_variables: tuple[str, ...]  # look like overrides and match no setting: worth a warning


def load(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """The settings of the file, or of the one that ENTREPOT_CONFIG names, or the defaults.

    Raises ConfigInvalid. Reads files: blocks.
    """
    return _load(path, environ, read_secret)


def load_without_secrets(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """The same where secrets need not be readable: for whoever looks at a configuration, and does not sign in by it
    unless it can."""
    return _load(path, environ, lambda source, environ: None)


def admin_address(path: Path | None, environ: Mapping[str, str]) -> Address:
    """Where the proxy of this configuration is asked how it is. All other settings may be faulty.

    Raises ConfigInvalid. Reads a file: blocks.
    """
    source, document, origins, faults = _written(path, environ)
    tree = {key: value for key, value in document.tree.items() if key in _ADMIN_KEYS}
    try:
        if not document.faults:
            return Settings.model_validate({**tree, "cache": {"path": "/"}}).admin
    except pydantic.ValidationError as error:
        faults += faults_of(error, tree, origins, known_keys())
    raise ConfigInvalid(source, faults)


_ADMIN_KEYS = frozenset({"anonymous", "listen", "admin_public", "admin"})


def _load(path: Path | None, environ: Mapping[str, str], secret: SecretCheck) -> Loaded:
    source, document, origins, faults = _written(path, environ)
    path = _chosen(path, environ)
    tree = document.tree
    _place_cache(tree, environ)
    folder = path.absolute().parent if path is not None else Path.cwd()
    try:
        context = Surroundings(folder=folder, environ=environ, secret=secret)
        settings = Settings.model_validate(tree, context=context)
    except pydantic.ValidationError as error:
        faults += faults_of(error, tree, origins, known_keys())
    if faults:
        raise ConfigInvalid(source, faults)
    return Loaded(settings, path, ignored_variables(environ, frozenset(_secret_variables(settings))))


class _Written(NamedTuple):
    """A configuration as it stands in file and environment, not judged yet."""

    source: str
    document: Document
    origins: dict[KeyPath, int | str]
    faults: list[ConfigFault]


def _written(path: Path | None, environ: Mapping[str, str]) -> _Written:
    path = _chosen(path, environ)
    source = str(path) if path is not None else "environment"
    try:
        document = parse_document(read_file(path, SIZE_LIMIT)) if path is not None else Document({}, {}, [])
    except FileRefused as refused:
        raise ConfigInvalid(source, [ConfigFault("", None, str(refused))]) from None
    origins: dict[KeyPath, int | str] = dict(document.lines)
    return _Written(source, document, origins, [*document.faults, *override(document.tree, origins, environ)])


def _chosen(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    return Path(environ[CONFIG_VARIABLE]) if path is None and environ.get(CONFIG_VARIABLE) else path


def _place_cache(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """The cache folder by the XDG base directory specification, which passes over relative values."""
    base = environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(environ.get("HOME", ""), ".cache")
    cache = tree.setdefault("cache", {})
    if isinstance(cache, dict) and os.path.isabs(base):
        cache.setdefault("path", f"{base}/entrepot")


def _secret_variables(settings: Settings) -> Iterator[str]:
    for upstream in settings.upstreams.values():
        if isinstance(upstream.auth, BasicAuth):
            yield from filter(None, (upstream.auth.username_env, upstream.auth.password_env))
