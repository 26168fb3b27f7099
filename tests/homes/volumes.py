"""Volumes as machines have them, mounted at a folder and lifted again: what a cache folder may have to live on."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.process import run

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts volumes")

Volume = Callable[[Path], AbstractContextManager[None]]
"""Mounted at the folder, which is there, for as long as the context lasts."""


@contextmanager
def mounted(at: Path, *words: str) -> Iterator[None]:
    """What ``mount`` is told by these words, at the folder."""
    run(["mount", *words, str(at)])
    try:
        yield
    finally:
        run(["umount", "--lazy", str(at)])


def tmpfs(size: str, *options: str) -> Volume:
    return lambda at: mounted(at, "-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "tmpfs")


def overlay(at: Path) -> AbstractContextManager[None]:
    """What a container writes to: empty below, all that comes above."""
    return overlay_on(lambda below: None)(at)


def overlay_on(fill: Callable[[Path], object]) -> Volume:
    """What a container of an image writes to; ``fill`` makes what the image brings."""

    @contextmanager
    def at(path: Path) -> Iterator[None]:
        beside = path.parent / "overlay"
        beside.mkdir()
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, beside)
            stack.enter_context(tmpfs("64m")(beside))  # an overlay cannot stand on another one
            lower, upper, work = (beside / name for name in ("lower", "upper", "work"))
            for folder in (lower, upper, work):
                folder.mkdir()
            fill(lower)
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            stack.enter_context(mounted(path, "-t", "overlay", "-o", options, "overlay"))
            yield

    return at


def image(kind: str, size: str) -> Volume:
    """A file system of its own, in a file."""

    @contextmanager
    def at(path: Path) -> Iterator[None]:
        file = path.with_name(f"{path.name}.{kind}")
        run(["truncate", "-s", size, str(file)])
        run([f"mkfs.{kind}", "-q", str(file)])
        with mounted(path, "-o", "loop", str(file)):
            yield
        file.unlink()

    return at


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"needs {tool}")
