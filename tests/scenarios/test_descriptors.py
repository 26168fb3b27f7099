"""A process that may open few files: held content is served to as many as it can, and the others are told so."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.process import Entrepot, get

LIMIT = 256
MOST = (LIMIT - 96) // 4


@contextmanager
def entrepot(folder: Path) -> Iterator[Entrepot]:
    under = ("prlimit", f"--nofile={LIMIT}:{LIMIT}")
    under_test = Entrepot(folder, {"upstreams": {"reg.test": {"url": "http://127.0.0.1:9"}}}, under)
    try:
        under_test.start()
        yield under_test
    finally:
        under_test.dispose()


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit")
def test_more_clients_than_descriptors_get_an_answer_or_503_and_the_process_recovers(tmp_path: Path) -> None:
    with entrepot(tmp_path) as under_test, ExitStack() as clients:
        statuses = []
        for number in range(LIMIT):
            here, there = (f"127.0.0.{number % 250 + 2}", 0), ("127.0.0.1", under_test.port)
            client = clients.enter_context(socket.create_connection(there, 20, here))
            client.sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            statuses.append(client.recv(65536).split(b" ")[1])
        assert statuses == [b"200"] * MOST + [b"503"] * (LIMIT - MOST)
        assert get(under_test.admin, "/readyz").status == 200
        clients.close()
        under_test.process.wait_until(lambda: get(under_test.port, "/v2/").status == 200)
