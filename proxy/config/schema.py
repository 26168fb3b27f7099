"""The settings as others see them: the effective values for people, the JSON Schema for editors."""

from collections.abc import Iterator
from typing import Any

from proxy.config.settings import Settings

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def effective(settings: Settings) -> dict[str, Any]:
    """Plain values as they would be written in a file, defaults included. Holds no secret, only where each is found."""
    shown = _without_nulls(settings.model_dump(mode="json", by_alias=True))
    return {**shown, "default_upstream": settings.default_upstream}


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, with a description for every key."""
    schema = Settings.model_json_schema()
    defaults = Settings.model_validate({"cache": {"path": "/"}}).model_dump(mode="json", by_alias=True)
    _write_defaults(schema, defaults, schema["$defs"])
    return {"$schema": _DIALECT, **schema}


def _without_nulls(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_nulls(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }


def _write_defaults(part: dict[str, Any], values: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Gives defaults their written form; pydantic shows them as they are held (seconds, bytes)."""
    for key, schema in part["properties"].items():
        if "default" in schema and not isinstance(schema["default"], str):
            schema["default"] = values[key]
        if "$ref" in schema:
            inner = definitions[schema["$ref"].rpartition("/")[2]]
            _write_defaults(inner, values[key], definitions)


def known_keys() -> tuple[str, ...]:
    """The names of all settings, wherever they stand."""
    return tuple(sorted(set(_properties(json_schema()))))


def _properties(schema: dict[str, Any]) -> Iterator[str]:
    for part in (schema, *schema["$defs"].values()):
        yield from part.get("properties", {})
