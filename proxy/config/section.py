"""What every part of the configuration has in common, and the one way to report several faults of a part at once."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

KeyPath = tuple[str | int, ...]
"""Where a value stands: mapping keys and list positions, from the root."""


class Section(BaseModel):
    """A frozen mapping of known keys. The docstring under each attribute is its description in the JSON Schema."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        validate_by_name=False,
        validate_by_alias=True,
    )


class Misfit(ValueError):
    """Faults found by one validator: (where, relative to the validated value; a sentence)."""

    def __init__(self, parts: Sequence[tuple[KeyPath, str]]) -> None:
        self.parts = tuple(parts)
        super().__init__("; ".join(sentence for _, sentence in parts))
