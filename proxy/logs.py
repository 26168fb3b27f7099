"""Log lines, written by a thread of their own: a full pipe or a slow disk delays nobody, and costs lines, counted.

Control characters never reach the output as they are, so no name a client makes up can forge a line.
"""

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

_PENDING = 10_000  # lines; what comes above is dropped and counted
_LONGEST = 4096  # characters of a line
_BATCH_PAUSE = 0.02  # seconds: gathers lines into one write

Entry = tuple[float, str, Mapping[str, Any]]
"""Seconds since the epoch, level, fields."""


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
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


def _plain(value: object) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return json.dumps(text) if " " in text or not text.isprintable() else text


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


E = TypeVar("E")


class LogWriter(Generic[E]):
    """``write`` never blocks; ``render`` makes a line of what was written, in the log's own thread. A context manager:
    leaving it writes what is pending, for two seconds at most."""

    def __init__(self, descriptor: int, render: Callable[[E], str]) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._render = render
        self._pending: deque[E] = deque()
        self._ready = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def __enter__(self) -> "LogWriter[E]":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._ready.set()
        self._thread.join(timeout=2)

    def write(self, entry: E) -> None:
        if len(self._pending) >= _PENDING:
            self.dropped += 1
            return
        self._pending.append(entry)
        if not self._ready.is_set():
            self._ready.set()

    def _run(self) -> None:
        while not (self._closing and not self._pending):
            self._ready.wait()
            self._ready.clear()
            lines = []
            while self._pending:
                lines.append(self._render(self._pending.popleft()))
            if lines:
                self._put("\n".join(lines) + "\n")
            if not self._closing:
                time.sleep(_BATCH_PAUSE)
            elif not self._pending:
                return

    def _put(self, text: str) -> None:
        rest = memoryview(text.encode("utf-8", "replace"))
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self.dropped += text.count("\n")


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
