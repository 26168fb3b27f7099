"""One scene: a ``serve`` that has just started, its idle work, one request, and what ran for that.

    python -m tests.trace.scene SCENE FOLDER

The registry behind it and the client are in this process too, on a thread of their own.
"""

import asyncio
import os
import random
import signal
import sys
import threading
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import uvloop

from proxy import app
from proxy.config import load
from proxy.listening import Listening
from tests.cast import FaultUpstream
from tests.trace.recorder import Function, Recorder

_IDLE = 3.0  # seconds
_SETTLED = 0.7  # seconds after a request, for what it leaves behind
_NAME = "registry.test"
_APP = "library/app"
_BLOB = 2 << 20  # bytes; the socket takes them whole, so that no busy machine makes a slow reader


class Scene:
    """``functions`` is there at the end."""

    def __init__(self, name: str, folder: Path, recorder: Recorder) -> None:
        self.functions: set[Function] = set()
        self.fault: BaseException | None = None
        self._name = name
        self._folder = folder
        self._recorder = recorder
        self._port = self._upstream_port = 0
        self._upstream_is_up = threading.Event()
        self._listening = threading.Event()

    def run(self) -> None:
        driver = threading.Thread(target=self._drive, name="driver")
        driver.start()
        self._upstream_is_up.wait()
        config = self._folder / "entrepot.yaml"
        config.write_text(
            f"listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ncache: {{path: {self._folder}/cache, min_free: 0}}\n"
            f"upstreams: {{{_NAME}: {{url: 'http://127.0.0.1:{self._upstream_port}'}}}}\ndrain: {{delay: 0s}}\n"
        )
        uvloop.run(app.serve(load(config, {}), self._announce))
        driver.join()

    def _announce(self, listening: Listening) -> None:
        self._port = int(listening.pull.rpartition(":")[2])
        self._listening.set()

    def _drive(self) -> None:
        sys.setprofile(None)
        try:
            asyncio.run(self._play())
        except BaseException as fault:
            self.fault = fault
        finally:
            self._upstream_is_up.set()
            os.kill(os.getpid(), signal.SIGINT)

    async def _play(self) -> None:
        async with FaultUpstream() as upstream:
            blob = upstream.blob(_APP, random.Random(1).randbytes(_BLOB))
            upstream.manifest(_APP, "v1", b'{"schemaVersion":2,"config":{},"layers":[]}')
            self._upstream_port = upstream.port
            self._upstream_is_up.set()
            await asyncio.to_thread(self._listening.wait)
            await asyncio.sleep(_IDLE)
            idle = self._recorder.taken()
            asked = "manifests/v1" if self._name == "cold-tag" else f"blobs/{blob}"
            told = await asyncio.to_thread(_pulled, self._port, f"/v2/{_NAME}/{_APP}/{asked}")
            await asyncio.sleep(_SETTLED)
            self.functions = self._recorder.taken() - idle
            outcome = "hit" if self._name == "blob-hit" else "miss"
            assert told.startswith("entrepot; ") and outcome in told, told


def _pulled(port: int, path: str) -> str:
    """The Cache-Status. The client leaves when all is over on the other side too, so that nothing depends on who is
    first."""
    sys.setprofile(None)
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        time.sleep(_SETTLED)
        return answer.headers["Cache-Status"]


def main() -> None:
    recorder = Recorder()
    recorder.install()
    scene = Scene(sys.argv[1], Path(sys.argv[2]), recorder)
    scene.run()
    sys.setprofile(None)
    if scene.fault is not None:
        raise scene.fault
    for function in sorted(scene.functions):
        print(f"{function.file}:{function.line} {function.name}")


if __name__ == "__main__":
    main()
