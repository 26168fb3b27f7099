"""Files that an operator names: read whole, bounded, and only where not everybody may write to them.

Validation reads them in place, for it runs before the event loop or in a thread. What a running proxy needs again goes
through aiofiles, so that a folder on a slow or hanging network volume stops no pull. Blobs never come this way: threads
of their own move them in large pieces, and a hop to a thread for each call would cost more than the call.
"""

import os
import stat
from pathlib import Path

import aiofiles


class FileRefused(ValueError):
    """What cannot or must not be read; a sentence says why, without any contents."""


def read_file(path: Path, limit: int) -> bytes:
    """The whole of a regular file of at most ``limit`` bytes. Raises FileRefused. Blocks."""
    try:
        with open(path, "rb", opener=_open_regular) as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from None
    return _bounded(path, content, limit)


async def read_file_off_loop(path: Path, limit: int) -> bytes:
    """As ``read_file``, from a coroutine. Cancelled, it leaves one short call behind in a thread."""
    try:
        async with aiofiles.open(path, "rb", opener=_open_regular) as file:
            content = await file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from None
    return _bounded(path, content, limit)


def _open_regular(path: str, flags: int) -> int:
    """Never waits for the other end of a pipe, and follows links."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    sentence = (
        "is not a regular file"
        if not stat.S_ISREG(mode)
        else "may be written by everybody: chmod o-w"
        if mode & stat.S_IWOTH
        else None
    )
    if sentence is not None:
        os.close(descriptor)
        raise FileRefused(f"{path} {sentence}")
    return descriptor


def _refusal(path: Path, error: OSError | ValueError) -> FileRefused:
    if isinstance(error, FileRefused):
        return error
    reason = error.strerror if isinstance(error, OSError) else "not a file name"
    return FileRefused(f"cannot read {path}: {reason}")


def _bounded(path: Path, content: bytes, limit: int) -> bytes:
    if len(content) > limit:
        raise FileRefused(f"{path} is larger than {limit} bytes")
    return content
