"""A node's files on disk: read as far as clients read them, written without touching what is not ours. All of it
blocks."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from proxy.clients.cri_config import further_folders
from proxy.clients.marker import Hand, hand, marked
from proxy.clients.node_files import NodeFiles
from proxy.clients.setups import CA_FILE, ClientFile
from proxy.config import demand_certificates

_FOLDERS = tuple(
    f"etc/{name}" for name in ("containerd", "docker", "containers", "crio", "rancher", "buildkit", "entrepot")
)
_READ = (".toml", ".json", ".conf", ".yaml")  # never keys, and certificates only by their being there
_LARGEST = 1 << 20  # bytes of one file
_MOST = 20_000  # entries of all folders together
_DEPTH = 6
_NOTHING = NodeFiles({})
_ASIDE = ".entrepot-new"  # a write that was cut off leaves it, and the next takes its place


# ---------------------------------------------------------------- reading


def read_node(root: Path) -> NodeFiles:
    """What clients have below ``root``, which is ``/`` for this machine. Raises OSError where it is no folder."""
    os.listdir(root)
    left = iter(range(_MOST))
    first = _read(root, _FOLDERS, left)
    return _read(root, (each for each in further_folders(first) if each not in _FOLDERS), left, first)


def _read(root: Path, tops: Iterable[str], left: Iterator[int], before: NodeFiles = _NOTHING) -> NodeFiles:
    """With what was read before: none of its files is read again. Each entry takes one of those that are ``left``."""
    texts, folders, unreadable = dict(before.texts), set(before.folders), dict(before.unreadable)
    entries = (path for top in dict.fromkeys(tops) for path in _below(root, top))
    for path, _ in zip(entries, left, strict=False):
        if before.has(path):
            continue
        place = root / path
        try:
            mode = place.stat().st_mode
            if stat.S_ISDIR(mode):
                folders.add(path)
            elif stat.S_ISREG(mode):
                texts[path] = _text(place) if path.endswith(_READ) else ""
        except (OSError, ValueError) as cause:
            unreadable[path] = f"cannot be read: {getattr(cause, 'strerror', None) or cause}"
    return NodeFiles(texts, frozenset(folders), unreadable)


def _below(root: Path, top: str) -> Iterator[str]:
    """Paths below the root, the folder itself first. Links are followed, as clients do, but no deeper than a node's
    files are."""
    waiting = [top] if (root / top).is_dir() else []
    while waiting:
        folder = waiting.pop()
        yield folder
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(root / folder)):
                path = f"{folder}/{name}"
                if (root / path).is_dir():
                    waiting += [path] if path.count("/") - top.count("/") < _DEPTH else []
                else:
                    yield path


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("it has more than 1 MiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8") from None


def read_certificates(path: Path) -> str:
    """The PEM of a file that holds certificates and nothing secret. Raises OSError and ValueError."""
    text = _text(path)
    if "PRIVATE KEY" in text:
        raise ValueError("it holds a private key, which belongs on no node")
    try:
        demand_certificates(text.encode())
    except ValueError:
        raise ValueError("it holds no certificate in PEM") from None
    return text if text.endswith("\n") else f"{text}\n"


# ---------------------------------------------------------------- writing


class LeftAlone(NamedTuple):
    """A file that is not touched, and why: words that follow its name."""

    path: str
    why: str


class WriteRefused(Exception):
    """Nothing was written, since it would have touched files that are not ours."""

    def __init__(self, refusals: Sequence[LeftAlone]) -> None:
        super().__init__(", ".join(f"/{each.path} {each.why}" for each in refusals))
        self.refusals = refusals


class Done(StrEnum):
    WRITTEN = "written"
    UNCHANGED = "unchanged"
    REMOVED = "removed"


class Deed(NamedTuple):
    path: str
    done: Done


def as_written(file: ClientFile) -> str:
    """The text of a file with its marker; JSON brings it along."""
    return file.text if file.path.endswith(".json") else marked(file.text)


def write(root: Path, files: Sequence[ClientFile]) -> list[Deed]:
    """Each file whole or not at all, in a folder that is made. Files of an earlier call for the same client that
    are not among them are removed, where nobody changed them. Raises WriteRefused before anything is touched, and
    OSError."""
    if refusals := [refusal for file in files if (refusal := _refusal(root, file))]:
        raise WriteRefused(refusals)
    deeds = [Deed(file.path, _put(root / file.path, as_written(file))) for file in files]
    wanted = {file.path for file in files}
    return deeds + _take_away(root, (path for path in _ours(root, files) if path not in wanted))


def remove(root: Path, files: Sequence[ClientFile]) -> list[Deed]:
    """What calls of ``write`` for the same client have left, where nobody changed it; certificates stay, which other
    clients may be told of. ``files`` are any that the client has. Raises OSError."""
    return _take_away(root, _ours(root, files))


def _take_away(root: Path, paths: Iterable[str]) -> list[Deed]:
    deeds = []
    for path in paths:
        (root / path).unlink()
        with contextlib.suppress(OSError):  # a folder without hosts.toml would hide _default from containerd
            (root / path).parent.rmdir()
        deeds.append(Deed(path, Done.REMOVED))
    return deeds


def _refusal(root: Path, file: ClientFile) -> LeftAlone | None:
    place = root / file.path
    if not place.parent.resolve().is_relative_to(root.resolve()):
        return LeftAlone(file.path, "leads out of the root by a link")
    try:
        mode = place.lstat().st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return LeftAlone(file.path, "has a file where its folder must be")
    if not stat.S_ISREG(mode):
        return LeftAlone(file.path, "is no plain file")
    try:
        text = _text(place)
    except (OSError, ValueError) as cause:
        return LeftAlone(file.path, f"cannot be read: {cause}")
    whose = hand(text)
    return None if whose is Hand.OURS or text == as_written(file) else LeftAlone(file.path, f"is {whose.value}")


def _put(place: Path, text: str) -> Done:
    if place.exists() and _text(place) == text:
        return Done.UNCHANGED
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name}{_ASIDE}")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with open(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o644)  # all clients must read it, whatever the umask
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    os.replace(aside, place)
    return Done.WRITTEN


def _ours(root: Path, files: Sequence[ClientFile]) -> list[str]:
    """Marked files in the client's own folders, also those of registries that are no upstreams any more."""
    paths = {file.path for file in files} - {CA_FILE}
    tops = {"/".join(path.split("/")[: 3 if path.startswith("etc/rancher/") else 2]) for path in paths}
    found = _read(root, sorted(top for top in tops if top.startswith("etc/")), iter(range(_MOST)))
    ours = [path for path, text in found.texts.items() if hand(text) is Hand.OURS]
    return [path for path in ours if _refusal(root, ClientFile(path, "")) is None]
