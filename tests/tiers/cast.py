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
from tests.process import Answer, Entrepot, proxying
from tests.zoo.real.push import Pushed

GHCR, QUAY, HUB = "ghcr.io", "quay.io", "docker.io"
_BLOB = re.compile(r'"?GET (/v2/\S+/blobs/(sha256:[0-9a-f]{64})\S*)')


def tier(url: str, forward: str = "ns", **more: Any) -> Mapping[str, Any]:
    return {"*": {"url": url, "forward": forward, **more}}


@contextmanager
def row(folder: Path, *upstreams: Mapping[str, Any], forward: str = "ns", **settings: Any) -> Iterator[list[Entrepot]]:
    """The first is before ``upstreams``, each other one before the one that stands before it in the list."""
    with ExitStack() as stack:
        made: list[Entrepot] = []
        for number, before in enumerate(upstreams):
            made.append(stack.enter_context(proxying(folder / f"cache{number}", before, **settings)))
        yield made


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
    return Counter(found[2] for found in _BLOB.finditer(proxy.log.read_text()))


def refusal(answer: Answer) -> str:
    return answer.body.decode()


@contextmanager
def relaying(target: int, port: int | None = None) -> Iterator[int]:
    """A load balancer: takes connections at a port of its own, which is given, and carries bytes to ``target``."""
    with socket.create_server(("127.0.0.1", port or free_port())) as listener:
        threading.Thread(target=_relay, args=(listener, target), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _relay(listener: socket.socket, target: int) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        far = socket.create_connection(("127.0.0.1", target))
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=_carry, args=(one, other), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
