"""What disks do to files."""

import os
from pathlib import Path

KINDS = ("gone", "short", "longer", "flipped")


def damage(path: Path, kind: str) -> None:
    """The size tells of all of them but ``flipped``, whose time of change is what it was."""
    content = path.read_bytes()
    path.chmod(0o644)
    match kind:
        case "gone":
            path.unlink()
        case "short":
            path.write_bytes(content[:-1])
        case "longer":
            path.write_bytes(content + b"x")
        case "flipped":
            seal = path.stat().st_mtime_ns
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
            os.utime(path, ns=(seal, seal))
