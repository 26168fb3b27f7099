"""A storm of new connections over TLS, each of which must get its pull: ``python -m tests.front.handshakes``.

    python -m tests.front.handshakes [--count 10000] [--clients 64]

Half of them resume a session, half begin anew; meanwhile the certificate changes several times. Prints what it took,
and ends with 1 where a pull failed.
"""

import argparse
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.cast.authority import Authority
from tests.process import Entrepot, get, proxying

_REQUEST = b"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_CHANGES = 3


class Storm(NamedTuple):
    """What came of it."""

    results: Counter[str]  # ``ok``, or the fault of a client
    seconds: float
    handshakes: dict[str, int]  # as the proxy counts them


def storm(folder: Path, count: int, clients: int) -> Storm:
    """Raises ProcessFailed."""
    authority = Authority(folder)
    pairs = [authority.files(days=30 + number) for number in range(_CHANGES + 1)]
    certificate, key = folder / "tls.crt", folder / "tls.key"
    _put(pairs[0], certificate, key)
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    tls = {"certificate": str(certificate), "key": str(key)}
    limits = {"connections_per_address": 1024}
    nowhere = {"registry.test": {"url": "http://127.0.0.1:9"}}
    with proxying(folder / "entrepot", nowhere, tls=tls, limits=limits) as proxy:
        begun = time.monotonic()
        results: Counter[str] = Counter()
        left = iter(range(count))
        taking = threading.Lock()

        def take() -> int | None:
            with taking:
                return next(left, None)

        def run() -> None:
            mine: Counter[str] = Counter()
            session: ssl.SSLSession | None = None
            while (number := take()) is not None:
                session, result = _visit(proxy.port, trust, session if number % 2 else None)
                mine[result] += 1
            with taking:
                results.update(mine)

        threads = [threading.Thread(target=run) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for pair in pairs[1:]:
            time.sleep(1.2)
            _put(pair, certificate, key)
        for thread in threads:
            thread.join()
        return Storm(results, time.monotonic() - begun, _counted(proxy))


def _put(pair: tuple[Path, Path], certificate: Path, key: Path) -> None:
    """The new files in place of the old, one after the other, as they come in real life."""
    for made, place in zip(pair, (certificate, key), strict=True):
        new = place.with_suffix(".new")
        new.write_bytes(made.read_bytes())
        new.chmod(0o600)
        new.rename(place)


def _visit(port: int, trust: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, str]:
    try:
        plain = socket.create_connection(("127.0.0.1", port), timeout=60)
        with trust.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secure:
            secure.sendall(_REQUEST)
            said = secure.recv(4096)
            return secure.session, "ok" if said.startswith(b"HTTP/1.1 200") else repr(said[:40])
    except OSError as fault:
        return None, repr(fault)


def _counted(proxy: Entrepot) -> dict[str, int]:
    found = {}
    for line in get(proxy.admin, "/metrics").body.decode().splitlines():
        if line.startswith("entrepot_tls_handshakes_total{"):
            found[line.split('"')[1]] = int(float(line.split()[-1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.front.handshakes", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=64)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = storm(Path(folder), given.count, given.clients)
    print(f"{found.results} in {found.seconds:.1f} s, {given.count / found.seconds:.0f}/s; {found.handshakes}")
    sys.exit(0 if set(found.results) == {"ok"} else 1)


if __name__ == "__main__":
    main()
