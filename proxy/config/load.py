"""From a file and an environment to settings, or to every fault at once."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from proxy.config.auth import BasicAuth
from proxy.config.document import SIZE_LIMIT, Document, parse_document
from proxy.config.faults import ConfigFault, ConfigInvalid, faults_of
from proxy.config.files import FileRefused, read_file
from proxy.config.overrides import CONFIG_VARIABLE, ignored_variables, override
from proxy.config.schema import known_keys
from proxy.config.secrets import Surroundings
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
    if path is None and environ.get(CONFIG_VARIABLE):
        path = Path(environ[CONFIG_VARIABLE])
    source = str(path) if path is not None else "environment"
    try:
        document = parse_document(read_file(path, SIZE_LIMIT)) if path is not None else Document({}, {}, [])
    except FileRefused as refused:
        raise ConfigInvalid(source, [ConfigFault("", None, str(refused))]) from None
    tree, faults = document.tree, list(document.faults)
    origins: dict[KeyPath, int | str] = dict(document.lines)
    faults += override(tree, origins, environ)
    _place_cache(tree, environ)
    folder = path.absolute().parent if path is not None else Path.cwd()
    try:
        settings = Settings.model_validate(tree, context=Surroundings(folder=folder, environ=environ))
    except pydantic.ValidationError as error:
        faults += faults_of(error, tree, origins, known_keys())
    if faults:
        raise ConfigInvalid(source, faults)
    return Loaded(settings, path, ignored_variables(environ, frozenset(_secret_variables(settings))))


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
