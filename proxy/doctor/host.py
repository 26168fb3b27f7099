"""The machine's part of an examination: disk space and file descriptors."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from proxy.core.descriptors import descriptors_for
from proxy.doctor.steps import Step, Verdict

SUBJECT = "host"


@dataclass(frozen=True, slots=True)
class Host:
    """``cache_bytes`` is the configured size of the cache, ``held_bytes`` what of it is on the disk already;
    ``connections`` are those of clients that may be open at a time."""

    cache_path: Path
    cache_bytes: int
    held_bytes: int = 0
    connections: int = 1


def host_steps(host: Host) -> list[Step]:
    """Blocks for two system calls."""
    return [_disk_space(host), _descriptors(host)]


def _disk_space(host: Host) -> Step:
    name = "disk space"
    try:
        disk = os.statvfs(_existing(host.cache_path))
    except OSError as error:
        fix = f"make {host.cache_path} and give it to the user of Entrepot"
        return Step(SUBJECT, name, Verdict.FAILED, f"{host.cache_path}: {error.strerror}", fix)
    free = disk.f_bavail * disk.f_frsize
    wanted = max(0, host.cache_bytes - host.held_bytes)
    detail = f"{_gib(free)} free below {host.cache_path}, {_gib(wanted)} still to be used by the cache"
    if disk.f_files and not disk.f_favail:
        return Step(
            SUBJECT, name, Verdict.FAILED, f"no inodes left below {host.cache_path}", "use a larger file system"
        )
    if free < wanted:
        fix = f"lower cache.max_size to {_gib(host.held_bytes + free)} or less, or enlarge the disk"
        return Step(SUBJECT, name, Verdict.FAILED, detail, fix)
    return Step(SUBJECT, name, Verdict.OK, detail)


def _descriptors(host: Host) -> Step:
    """By the hard limit, which the proxy takes for itself."""
    name, needed = "file descriptors", descriptors_for(host.connections)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return Step(SUBJECT, name, Verdict.OK, "no limit")
    detail = f"at most {hard}, and {host.connections} connections may need {needed}"
    if hard < needed:
        fix = f"raise LimitNOFILE of the systemd unit or ulimits.nofile of the container to {needed}, or lower "
        return Step(SUBJECT, name, Verdict.FAILED, detail, f"{fix}limits.connections")
    return Step(SUBJECT, name, Verdict.OK, detail)


def held_below(path: Path) -> int:
    """Bytes that the files of a cache folder take; 0 where there is none. Blocks: it looks at every file."""
    total, folders = 0, [path]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:  # it went meanwhile, or is not ours to see
            continue
    return total


def _existing(path: Path) -> Path:
    """The nearest folder on the way to ``path`` that exists: the cache folder is made at the first start."""
    return next((folder for folder in (path, *path.parents) if folder.exists()), path)


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f}GiB"
