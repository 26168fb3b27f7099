"""Caches in a row, as real processes, and what may stand between them."""

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.process import Entrepot, proxying
from tests.zoo.real.push import Pushed

GHCR, QUAY, HUB = "ghcr.io", "quay.io", "docker.io"
_BLOB = re.compile(r"method=GET target=/v2/\S+/blobs/(sha256:[0-9a-f]{64})\S* status=200 ")


def tier(url: str, forward: str = "ns", **more: Any) -> Mapping[str, Any]:
    return {"*": {"url": url, "forward": forward, **more}}


@contextmanager
def circle(folder: Path, caches: int, forward: str) -> Iterator[list[Entrepot]]:
    """Each asks the next one, the last one the first."""
    ports = [free_port() for _ in range(caches)]
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                proxying(
                    folder / f"cache{number}",
                    tier(f"http://127.0.0.1:{ports[(number + 1) % caches]}", forward),
                    listen=f"127.0.0.1:{port}",
                )
            )
            for number, port in enumerate(ports)
        ]


def pulled(proxy: Entrepot, registry: str, name: str, image: Pushed, tag: str) -> list[str]:
    """Manifest by tag and all blobs, by ``?ns=``. What Cache-Status said."""
    manifest = proxy.get(f"/v2/{name}/manifests/{tag}?ns={registry}")
    assert (manifest.status, manifest.body) == (200, image.raw), manifest
    said = [manifest.headers["cache-status"]]
    for digest, content in image.blobs.items():
        blob = proxy.get(f"/v2/{name}/blobs/{digest}?ns={registry}")
        assert (blob.status, blob.body) == (200, content)
        said.append(blob.headers["cache-status"])
    return said


def blobs_sent(proxy: Entrepot) -> Counter[str]:
    """How many times clients got each blob, by digest, as the access log has it."""
    return Counter(found[1] for found in _BLOB.finditer(proxy.log.read_text()))


@contextmanager
def relaying(port: int, target: int) -> Iterator[None]:
    """A load balancer: takes connections at ``port``, and carries bytes to ``target``."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        threading.Thread(target=_relay, args=(listener, target), daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


def _relay(listener: socket.socket, target: int) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_join, args=(near, target), daemon=True).start()


def _join(near: socket.socket, target: int) -> None:
    with near, socket.create_connection(("127.0.0.1", target)) as far:
        back = threading.Thread(target=_carry, args=(far, near))
        back.start()
        _carry(near, far)
        back.join()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    """Until either of them ends; then neither says more to the other."""
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
