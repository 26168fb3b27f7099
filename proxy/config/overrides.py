"""Environment variables that stand above the file: ``ENTREPOT_`` and the path of a setting, joined by ``_``."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.config.document import parse_scalar
from proxy.config.faults import ConfigFault, written_key
from proxy.config.section import KeyPath, Section
from proxy.config.settings import Settings

PREFIX = "ENTREPOT_"
CONFIG_VARIABLE = "ENTREPOT_CONFIG"
ADMIN_VARIABLE = "ENTREPOT_ADMIN_URL"  # where commands find the running proxy


class _Leaf(NamedTuple):
    path: KeyPath
    is_list: bool


def variables() -> dict[str, KeyPath]:
    """Every variable that overrides a setting, and the setting."""
    return {_variable(leaf.path): leaf.path for leaf in _leaves(Settings, ())}


def override(tree: dict[str, Any], origins: dict[KeyPath, int | str], environ: Mapping[str, str]) -> list[ConfigFault]:
    """Writes the values of the environment into ``tree`` and their variables into ``origins``."""
    faults = []
    for leaf in _leaves(Settings, ()):
        variable = _variable(leaf.path)
        if variable not in environ:
            continue
        section: Any = tree
        for part in leaf.path[:-1]:
            section = section.setdefault(part, {}) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            continue  # the file holds something else there, which is a fault of its own
        try:
            section[leaf.path[-1]] = _value(environ[variable], leaf)
            origins[leaf.path] = variable
        except ValueError:
            faults.append(ConfigFault(written_key(leaf.path), None, "cannot be read as a value", variable))
    return faults


def ignored_variables(environ: Mapping[str, str], secrets: frozenset[str]) -> tuple[str, ...]:
    """Variables that look like settings and are none; ``secrets`` are the names that the settings refer to."""
    known = variables().keys() | secrets | {CONFIG_VARIABLE, ADMIN_VARIABLE}
    return tuple(sorted(name for name in environ if name.startswith(PREFIX) and name not in known))


def _variable(path: KeyPath) -> str:
    return PREFIX + "_".join(map(str, path)).upper()


def _value(text: str, leaf: _Leaf) -> object:
    if leaf.is_list:
        return [part.strip() for part in text.split(",") if part.strip()]
    return parse_scalar(text)


def _leaves(section: type[BaseModel], path: KeyPath) -> Iterator[_Leaf]:
    """Settings with a fixed path that one word, or words with commas, can hold."""
    for name, field in section.model_fields.items():
        here = (*path, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _leaves(field.annotation, here)
        elif not _holds_sections(field):
            yield _Leaf(here, get_origin(field.annotation) is tuple)


def _holds_sections(field: FieldInfo) -> bool:
    return any(isinstance(part, type) and issubclass(part, Section) for part in get_args(field.annotation))
