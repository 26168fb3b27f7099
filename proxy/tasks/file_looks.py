"""A look at files that may have changed."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from proxy.core.file_versions import FileVersion, Look


def look_at(files: Iterable[Path]) -> Look:
    """For a moment before they are read. Blocks. Each is opened, not only asked after: NFS asks its server then, and
    for some seconds only then."""
    now = time.time()
    return Look.of(tuple((str(file), _version(file)) for file in files), now)


def _version(file: Path) -> FileVersion | int:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return error.errno or 0
    try:
        return FileVersion.of(os.fstat(descriptor))
    except OSError as error:
        return error.errno or 0
    finally:
        os.close(descriptor)
