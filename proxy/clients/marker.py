"""The mark in a file that was written here, and whether anybody changed it since.

A comment on the first line holds a digest of the rest. JSON has no comments; there it is a label of the Docker Engine,
which carries what its owner likes (dockerd(8), ``--label``).
"""

import hashlib
import json
from enum import Enum

from proxy.core.foreign_json import SMALL, parse_json

_LINE = "# Written by `entrepot clients`, which writes it anew unless it was changed by hand. Marker: "
_LABEL = "entrepot-clients="


class Hand(Enum):
    """Who had a file last."""

    OURS = "ours"
    CHANGED = "changed by hand since it was written"
    FOREIGN = "not written by this command"


def marked(text: str) -> str:
    return f"{_LINE}{_digest(text)}\n{text}"


def marked_json(document: dict[str, object]) -> str:
    """``document`` has no labels of its own."""
    return json.dumps({**document, "labels": [_label(document)]}, indent=2) + "\n"


def hand(text: str) -> Hand:
    first, _, rest = text.partition("\n")
    if first.startswith(_LINE):
        return Hand.OURS if first.removeprefix(_LINE) == _digest(rest) else Hand.CHANGED
    return _hand_of_json(text)


def _hand_of_json(text: str) -> Hand:
    try:
        document = parse_json(text, SMALL)
    except ValueError:
        return Hand.FOREIGN
    labels = document.pop("labels", None) if isinstance(document, dict) else None
    ours = [str(label) for label in labels if str(label).startswith(_LABEL)] if isinstance(labels, list) else []
    if not ours:
        return Hand.FOREIGN
    return Hand.OURS if labels == [_label(document)] else Hand.CHANGED


def _label(document: dict[str, object]) -> str:
    return f"{_LABEL}{_digest(json.dumps(document, sort_keys=True))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
