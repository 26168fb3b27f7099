"""Bundles: how fast what is held goes out and comes in, and what it costs those who pull meanwhile."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.bench.bench import Bench
from tests.bench.clients import WrongAnswer, check, latencies
from tests.bench.contents import MANIFEST_TYPE, MIB, Content
from tests.bench.contestants import OURS, Server, Setup, entrepot
from tests.bench.measure import Row, Spread, Target, percentile, rss_bytes
from tests.process import PROXY

_BLOB = 64 * MIB
_NAME = "registry.test/bench/bundle:v1"
_COPY = "cp and sync"
_MOST = 150.0  # MiB
_PAUSE = 0.002  # seconds between two hits
_PORTION = 100  # hits between two looks whether it goes on


class _Moved(NamedTuple):
    """What a command came to, with hits of those who pull meanwhile."""

    seconds: float
    rss: int  # bytes of the command, the most there were
    hits: Sequence[float]  # seconds of each


def bundles(bench: Bench) -> list[Row]:
    """An export and an import in blobs of 64 MiB, beside cp --reflink=never and sync of the same bytes."""
    folder, size = bench.new_folder(), bench.scale.bundle
    layout = _layout(folder / "layout", size)
    copies = [_copied(layout, folder / "copy", size)]
    manifest = bench.contents.manifest(bench.contents.blob(4096, 0)).by_digest
    with entrepot(Setup(bench.new_folder(), bench.upstream)) as server:
        check(server.port, manifest.path, manifest.digest)
        quiet = latencies(server.port, manifest.path, bench.scale.samples, _PAUSE)
        taken = _moved(server, manifest, "import", str(layout))
        shutil.rmtree(layout)
        given = _moved(server, manifest, "export", _NAME, "--to", str(folder / "bundle.tar"))
        rss = rss_bytes(server.pid, "VmHWM")
        bench.note_lag([server])
    copies.append(_copied(folder / "bundle.tar", folder / "copy", size))
    shutil.rmtree(folder)
    rows = []
    for what, moved in (("import", taken), ("export", given)):
        work = f"{what} of {size / MIB:,.0f} MiB in blobs of 64 MiB"
        rates = {OURS: Spread.of([size / moved.seconds / 1e6]), _COPY: Spread.of(copies)}
        p99 = {OURS: Spread.of([_p99(moved.hits)]), f"{OURS} quiet": Spread.of([_p99(quiet)])}
        rows += [
            Row(work, "MB/s", rates, [Target("≥", 0.5, _COPY)]),
            Row(work, "p99 of a manifest hit meanwhile, ms", p99, [Target("≤", 1.5, f"{OURS} quiet")]),
            Row(work, "RSS MiB of the command", {OURS: Spread.of([moved.rss / MIB])}, [Target("≤", _MOST, ease=1.0)]),
        ]
    most = {OURS: Spread.of([rss / MIB])}
    return [*rows, Row("import and export", "RSS MiB of the proxy", most, [Target("≤", _MOST, ease=1.0)])]


def _layout(folder: Path, size: int) -> Path:
    """An image layout on the disk, of which nothing is in memory any more."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    layers = [_described(blobs, raw, "application/octet-stream") for raw in _noise(size // _BLOB)]
    config = _described(blobs, b"{}", "application/vnd.oci.empty.v1+json")
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers}
    named = {"org.opencontainers.image.ref.name": _NAME}
    manifest = _described(blobs, json.dumps(document).encode(), MANIFEST_TYPE) | {"annotations": named}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    _forget(folder)
    return folder


def _noise(count: int) -> Iterator[bytes]:
    """Blobs that do not compress within a MiB, and differ from each other."""
    block = Random(16).randbytes(MIB) * (_BLOB // MIB)
    return (number.to_bytes(8) + block[8:] for number in range(count))


def _described(blobs: Path, raw: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(raw).hexdigest()
    (blobs / digest).write_bytes(raw)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(raw)}


def _forget(source: Path) -> None:
    """What is read of it next comes from the disk, whoever reads it."""
    for path in [source] if source.is_file() else [each for each in source.rglob("*") if each.is_file()]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _copied(source: Path, target: Path, size: int) -> float:
    """MB/s, until all of it is on the disk. ``source`` is forgotten before and after."""
    _forget(source)
    begun = time.monotonic()
    subprocess.run(["cp", "--reflink=never", "--recursive", str(source), str(target)], check=True)
    subprocess.run(["sync"], check=True)
    seconds = time.monotonic() - begun
    _forget(source)
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    return size / seconds / 1e6


def _moved(server: Server, manifest: Content, *words: str) -> _Moved:
    """Raises WrongAnswer where the command fails."""
    hits: list[float] = []
    begun = time.monotonic()
    with _command(server, *words) as (process, ended):
        while not ended:
            hits += latencies(server.port, manifest.path, _PORTION, _PAUSE)
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                ended.append(time.monotonic())
                process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise WrongAnswer(f"entrepot {' '.join(words)} ended with {process.returncode}")
    return _Moved(ended[0] - begun, used.ru_maxrss * 1024, hits)


@contextmanager
def _command(server: Server, *words: str) -> Iterator[tuple["subprocess.Popen[bytes]", list[float]]]:
    at: Mapping[str, str] = {"ENTREPOT_ADMIN_URL": f"http://127.0.0.1:{server.admin}"}
    process = subprocess.Popen([*PROXY, *words], stdout=subprocess.DEVNULL, env={**os.environ, **at})
    try:
        yield process, []
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()


def _p99(seconds: Sequence[float]) -> float:
    return percentile(seconds, 0.99) * 1e3
