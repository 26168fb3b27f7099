"""What ``entrepot export`` says at its end."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from proxy.bundles.listing import BundleList
from proxy.commands import shown

_TOLD = 10


def told(incomplete: Mapping[str, int]) -> str:
    """Images of which not all is held, by name with the number of what is missing; empty where there are none."""
    lines = [f"\nleft out: {shown.printable(name)}: {count} of its contents are not held; pull it once"
             for name, count in list(incomplete.items())[:_TOLD]]  # fmt: skip
    more = len(incomplete) - len(lines)
    return "".join(lines) + (f"\nleft out: {more} more" if more > 0 else "")


def export_json(written: BundleList, paths: Sequence[Path], incomplete: Mapping[str, int]) -> str:
    """For machines."""
    images = [
        {"names": list(map(str, image.names)), "digest": image.digest, "absent": list(image.absent)}
        for image in written.images
    ]
    said = {"images": images, "paths": list(map(str, paths)), "incomplete": dict(incomplete), "parent": written.parent}
    return json.dumps(said, indent=2)
