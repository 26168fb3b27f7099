"""Configuration files for tests, and the reference file with its examples uncommented."""

import re
from collections.abc import Callable
from pathlib import Path

REFERENCE = Path(__file__).parents[2] / "config" / "entrepot.yaml"

PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
"""
"""Of RFC 8032 section 7.1, test 1."""

Write = Callable[[str | bytes], Path]


def with_examples(text: str) -> str:
    """Takes one ``# `` from each line that has a single one; ``##`` is prose."""
    return re.sub(r"^( *)# ", r"\1", text, flags=re.MULTILINE)
