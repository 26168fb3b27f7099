"""An upstream registry that can be slow and that counts: ``python tests/bench/origin.py STORAGE PORT``.

It serves a docker-registry storage folder read-only, as many bytes per second as allowed, with Range. The limits hold
for one connection and for all of them together. ``GET /counts`` tells, per digest, how many blob transfers began at
byte 0 and how many body bytes were sent.

It stands beside the upstream of the cast because it must cost next to nothing in a measurement: a process of its own,
bodies by ``sendfile``, nothing scripted. What docker-registry cannot do is be slow, and count.
"""

import argparse
import json
import os
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_STEP = 128 * 1024  # bytes between two looks at the clock
_LAG = 0.02  # seconds of lateness that a paced sender may catch up
_CONTENT = re.compile(r"/v2/(?P<name>.+)/(?P<kind>blobs|manifests)/(?P<reference>[^/]+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Pace:
    """Bytes per second for everyone who shares it; 0 is without limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = 0.0
        self._lock = threading.Lock()

    def wait(self, size: int) -> None:
        """Returns when ``size`` more bytes may leave."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._due = max(self._due, now - _LAG) + size / self._rate
            delay = self._due - now
        if delay > 0:
            time.sleep(delay)


class Origin(ThreadingHTTPServer):
    """The limits and the counts that all connections share."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int, storage: Path, per_connection: float, total: float) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.root = storage / "docker/registry/v2"
        self.per_connection = per_connection
        self.total = Pace(total)
        self._lock = threading.Lock()
        self._transfers: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()

    def count(self, digest: str, transfers: int, sent: int) -> None:
        with self._lock:
            self._transfers[digest] += transfers
            self._sent[digest] += sent

    def counts(self) -> dict[str, dict[str, int]]:
        with self._lock:
            return {"transfers": dict(self._transfers), "bytes": dict(self._sent)}


class _Handler(BaseHTTPRequestHandler):
    server: Origin
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.pace = Pace(self.server.per_connection)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/v2/":
            self._small(b"{}", "application/json")
        elif path == "/counts":
            self._small(json.dumps(self.server.counts()).encode(), "application/json")
        elif found := _CONTENT.fullmatch(path):
            self._content(found["name"], found["kind"], found["reference"])
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line per request would cost more than the request."""

    def _content(self, name: str, kind: str, reference: str) -> None:
        try:
            digest = reference if ":" in reference else self._tag(name, reference)
            encoded = digest.partition(":")[2]
            file = (self.server.root / "blobs/sha256" / encoded[:2] / encoded / "data").open("rb")
        except OSError:
            self.send_error(404)
            return
        with file:
            if kind == "manifests":
                raw = file.read()
                self._small(raw, json.loads(raw)["mediaType"], digest)
            else:
                self._blob(file.fileno(), digest)

    def _tag(self, name: str, tag: str) -> str:
        return (self.server.root / "repositories" / name / "_manifests/tags" / tag / "current/link").read_text()

    def _small(self, raw: bytes, media_type: str, digest: str = "") -> None:
        self._head(200, len(raw), media_type, digest)
        if self.command == "GET":
            self.wfile.write(raw)

    def _head(self, status: int, length: int, media_type: str, digest: str, content_range: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(length))
        self.send_header("Accept-Ranges", "bytes")
        if digest:
            self.send_header("Docker-Content-Digest", digest)
            self.send_header("ETag", f'"{digest}"')
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def _blob(self, descriptor: int, digest: str) -> None:
        size = os.fstat(descriptor).st_size
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1, size) if asked and asked[2] else size
        span = f"bytes {start}-{end - 1}/{size}" if asked else ""
        self._head(206 if asked else 200, end - start, "application/octet-stream", digest, span)
        if self.command == "GET":
            self.server.count(digest, int(start == 0), 0)
            self._send(descriptor, digest, start, end)

    def _send(self, descriptor: int, digest: str, start: int, end: int) -> None:
        """Counts before it sends, so that nobody who has the bytes can find them uncounted."""
        position = start
        try:
            while position < end:
                step = min(_STEP, end - position)
                self.pace.wait(step)
                self.server.total.wait(step)
                self.server.count(digest, 0, step)
                while step:
                    sent = os.sendfile(self.connection.fileno(), descriptor, position, step)
                    position, step = position + sent, step - sent
        except OSError:  # the client left
            self.close_connection = True


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("storage", type=Path)
    arguments.add_argument("port", type=int)
    arguments.add_argument("--per-connection", type=float, default=0, help="bytes per second")
    arguments.add_argument("--total", type=float, default=0, help="bytes per second")
    options = arguments.parse_args()
    Origin(options.port, options.storage, options.per_connection, options.total).serve_forever()


if __name__ == "__main__":
    main()
