"""Environment variables that stand above the file: ``ENTREPOT_`` and the path of a setting, joined by ``_``.

They are put into the tree of the file before it is checked, so that one validation reports the faults of both, each
with its line or its variable. pydantic-settings keeps no origin of a value, wants JSON for lists, and ends at the first
value that it cannot read.
"""

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
ADMIN_TOKEN_VARIABLE = "ENTREPOT_ADMIN_TOKEN_FILE"  # what they show it; where it runs, the setting


class _Leaf(NamedTuple):
    path: KeyPath
    is_list: bool


def variables() -> dict[str, KeyPath]:
    """Every variable that overrides a setting, and the setting."""
    return {_variable(leaf.path): leaf.path for leaf in _leaves(Settings, ())}


class Overridden(NamedTuple):
    """What came of the variables: those that cannot be read, and sentences on those that the file contradicts."""

    faults: list[ConfigFault]
    warnings: list[str]


def override(tree: dict[str, Any], origins: dict[KeyPath, int | str], environ: Mapping[str, str]) -> Overridden:
    """Writes the values of the environment into ``tree`` and their variables into ``origins``. Warns of what the file
    says otherwise, since who reads only the file would look for it there."""
    overridden = Overridden([], [])
    for leaf in _leaves(Settings, ()):
        variable, key = _variable(leaf.path), leaf.path[-1]
        if variable not in environ:
            continue
        section: Any = tree
        for part in leaf.path[:-1]:
            section = section.setdefault(part, {}) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            continue  # the file holds something else there, which is a fault of its own
        written = written_key(leaf.path)
        try:
            value = _value(environ[variable], leaf)
        except ValueError:
            overridden.faults.append(ConfigFault(written, None, "cannot be read as a value", variable))
            continue
        if section.get(key, value) != value:
            overridden.warnings.append(
                f"{written}: {variable} of the environment holds, not what the file says in line {origins[leaf.path]}"
            )
        section[key], origins[leaf.path] = value, variable
    return overridden


def _variable(path: KeyPath) -> str:
    return PREFIX + "_".join(map(str, path)).upper()


def _value(text: str, leaf: _Leaf) -> object:
    if leaf.is_list:
        return [part.strip() for part in text.split(",") if part.strip()]
    return parse_scalar(text)


def _leaves(section: type[BaseModel], path: KeyPath) -> Iterator[_Leaf]:
    """Settings with a fixed path that one word, or words with commas, can hold."""
    for name, field in section.model_fields.items():
        here = (*path, field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _leaves(field.annotation, here)
        elif not _holds_sections(field):
            yield _Leaf(here, _is_list(field.annotation))


def _is_list(annotation: object) -> bool:
    return get_origin(annotation) is tuple or any(map(_is_list, get_args(annotation)))


def _holds_sections(field: FieldInfo) -> bool:
    return any(isinstance(part, type) and issubclass(part, Section) for part in get_args(field.annotation))
