"""Log lines, written by a thread of their own: a full pipe or a slow disk delays nobody, and costs lines, counted.

Control characters never reach the output as they are, so no name a client makes up can forge a line.
"""

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

_BATCH = 128  # lines that are made at once
_MOST = 8 << 20  # bytes of lines that wait for those that are being written; what comes above is dropped and counted
_MUCH = 2 << 20  # bytes that are written before the pause is over
_LONGEST = 4096  # characters of a line
_PAUSE = 0.02  # seconds: gathers lines into one write

Entry = tuple[float, str, Mapping[str, Any]]
"""Seconds since the epoch, level, fields."""


Render = Callable[[Entry], str]
"""Makes one line, without its end."""


def as_json(entry: Entry) -> str:
    at, level, fields = entry
    return json.dumps({"time": stamp(at), "level": level, **fields}, default=str)[:_LONGEST]


def as_text(entry: Entry) -> str:
    at, level, fields = entry
    message = fields.get("message", "")
    rest = " ".join(f"{key}={_plain(value)}" for key, value in fields.items() if key != "message" and value != "")
    return f"{stamp(at)} {level.upper():7} {_clean(str(message))} {rest}"[:_LONGEST].rstrip()


def stamp(at: float) -> str:
    """The time as every line has it: UTC, by the millisecond."""
    seconds, milliseconds = divmod(int(at * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03d}Z"


def _plain(value: object) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return json.dumps(text) if " " in text or not text.isprintable() else text


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


E = TypeVar("E")


class LogWriter(Generic[E]):
    """``write`` never blocks; ``render`` makes whole lines of what was written, never for two at a time. A context
    manager: leaving it writes what is pending, for two seconds at most.

    A thread writes, and makes the lines of what comes now and then. Of what comes fast the lines are made by whoever
    has written the last of a batch: the interpreter lets one thread run at a time anyway, and each change of turns
    costs more than a line."""

    def __init__(self, descriptor: int, render: Callable[[Sequence[E]], str]) -> None:
        self.dropped = 0  # lines
        self._descriptor = descriptor
        self._render = render
        self._pending: deque[E] = deque()
        self._making = threading.Lock()  # whoever has it makes lines, and those that it made come next
        self._made: list[bytes] = []  # whole lines, for the descriptor
        self._size = 0  # bytes of them
        self._ready = threading.Event()  # there is something to write
        self._hurry = threading.Event()  # there is much of it, or it is the last
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def __enter__(self) -> "LogWriter[E]":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._hurry.set()
        self._ready.set()
        self._thread.join(timeout=2)

    def write(self, entry: E) -> None:
        pending = self._pending
        pending.append(entry)
        if len(pending) >= _BATCH and self._making.acquire(blocking=False):
            try:
                self._make()
            finally:
                self._making.release()
        if not self._ready.is_set():
            self._ready.set()

    def _make(self) -> None:
        """Lines of all that is pending."""
        batch = [self._pending.popleft() for _ in range(len(self._pending))]
        if self._size > _MOST:
            self.dropped += len(batch)
            return
        lines = self._render(batch).encode("utf-8", "replace")
        self._made.append(lines)
        self._size += len(lines)
        if self._size > _MUCH:
            self._hurry.set()

    def _run(self) -> None:
        while True:
            self._ready.wait()
            closing = self._closing
            self._ready.clear()
            with self._making:
                if self._pending:
                    self._make()
                lines, self._made, self._size = b"".join(self._made), [], 0
            self._put(lines)
            if closing:
                return
            self._hurry.wait(_PAUSE)
            self._hurry.clear()

    def _put(self, lines: bytes) -> None:
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            with self._making:
                self.dropped += lines.count(b"\n")


class LogHandler(logging.Handler):
    """The standard library's records, into the same writer."""

    def __init__(self, writer: "LogWriter[Any]") -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"message": record.getMessage(), "logger": record.name}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._writer.write((record.created, record.levelname.lower(), fields))
