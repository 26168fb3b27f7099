"""The running proxy as a command sees it. Blocking: a command has nothing else to do meanwhile."""

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import ValidationError

from proxy.admin.messages import L, Operation, Q
from proxy.admin.report import Status

_PATIENCE = 60.0  # seconds without a line from an operation that is being carried out, which has one every ten
_CONTENTS = "/api/v1/contents/"
_PROMPT = 10.0  # seconds for an answer that needs no work


class AdminFailed(Exception):
    """No answer, or not the one that was asked for; ``str()`` is a sentence for a person."""


class AdminUnreachable(AdminFailed):
    """Nothing answers there."""


class AdminRefused(AdminFailed):
    """The request is wrong, and will be wrong again."""


class AdminClient:
    """``url`` is the admin listener's, ``http://127.0.0.1:5001``, of which the scheme may be left out, or
    ``unix:/run/entrepot/admin.sock``. ``token`` is shown with each request; empty for none."""

    def __init__(self, url: str, token: str = "") -> None:
        """Raises ValueError for what is no address."""
        self._socket = url.removeprefix("unix:") if url.startswith("unix:") else ""
        self.url = url if "://" in url or self._socket else f"http://{url}"
        parts = urlsplit("http://localhost" if self._socket else self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is not the address of an admin listener: http://HOST:PORT or unix:PATH")
        self._shown = {"Authorization": f"Bearer {token}"} if token else {}
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/")

    def status(self) -> Status:
        """Raises AdminUnreachable or AdminFailed."""
        with self._talk(_PROMPT) as connection:
            connection.request("GET", f"{self._path}/api/v1/status", headers=self._shown)
            answer = connection.getresponse()
            _demand(answer, 200)
            try:
                return Status.model_validate_json(answer.read())
            except ValidationError:
                raise AdminFailed(f"{self.url} tells no status that can be read; is it of the same version?") from None

    def operate(self, operation: Operation[Q, L], request: Q) -> Iterator[L]:
        """What the running proxy says while it carries the operation out. Raises AdminUnreachable, AdminRefused or
        AdminFailed, the last two on the way too."""
        with self._talk(_PATIENCE) as connection:
            body = request.model_dump_json(exclude_defaults=True)
            path = f"{self._path}/api/v1/{operation.name}"
            connection.request("POST", path, body, {"Content-Type": "application/json", **self._shown})
            answer = connection.getresponse()
            _demand(answer, 200)
            said = False
            for line in answer:
                found = json.loads(line)
                if "error" in found:
                    raise AdminFailed(str(found["error"]))
                if found:
                    said = True
                    yield self._read(operation, found)
            if not said:
                raise AdminFailed("the running entrepot gave no answer")

    @contextmanager
    def content(self, digest: str) -> Iterator[HTTPResponse]:
        """The bytes of what is held. Raises AdminUnreachable, AdminRefused or AdminFailed, also where they are read."""
        with self._talk(_PATIENCE) as connection:
            connection.request("GET", f"{self._path}{_CONTENTS}{digest}", headers=self._shown)
            answer = connection.getresponse()
            _demand(answer, 200)
            yield answer

    def bring(self, digest: str, size: int, upstream: str, pieces: Iterable[bytes]) -> Callable[[], None]:
        """Bytes to hold, ``size`` of them, which count for that upstream. They are sent when this returns; to be called
        once, what it gives waits until they are proven and on the disk. Both raise AdminUnreachable, AdminRefused where
        they are not those of the digest, AdminFailed; this also what ``pieces`` raises."""
        with ExitStack() as stack:
            connection = stack.enter_context(self._talk(_PATIENCE))
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size), **self._shown}
            with suppress(BrokenPipeError, ConnectionResetError):  # it has answered already
                target = f"{self._path}{_CONTENTS}{digest}?upstream={quote(upstream)}"
                connection.request("PUT", target, pieces, headers)
            talk = stack.pop_all()

        def answered() -> None:
            with talk:
                answer = connection.getresponse()
                _demand(answer, 201)
                answer.read()

        return answered

    def _read(self, operation: Operation[Q, L], found: dict[str, Any]) -> L:
        try:
            return operation.lines.validate_python(found)
        except ValidationError:
            raise AdminFailed(f"{self.url} answers in words unknown here; is it of the same version?") from None

    @contextmanager
    def _talk(self, timeout: float) -> Iterator[HTTPConnection]:
        connect = HTTPSConnection if self._secure else HTTPConnection
        connection = connect(self._host, self._port, timeout=timeout)
        try:
            if self._socket:
                connection.sock = _connected(self._socket, timeout)
            yield connection
        except (OSError, HTTPException, ValueError) as cause:
            raise AdminUnreachable(f"no entrepot answers on {self.url} ({cause}); is it running?") from None
        finally:
            connection.close()


_REFUSALS = (400, 401, 403)


def _demand(answer: HTTPResponse, status: int) -> None:
    """Raises AdminRefused or AdminFailed."""
    if answer.status != status:
        raise (AdminRefused if answer.status in _REFUSALS else AdminFailed)(_refusal(answer))


def _connected(path: str, timeout: float) -> socket.socket:
    """Raises OSError."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _refusal(answer: HTTPResponse) -> str:
    text = answer.read().decode(errors="replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the running entrepot answered {answer.status}; is it of the same version?"
